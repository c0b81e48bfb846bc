"""A RAG application in plain Python that sends what it does to Barograph with ``barograph_client``.

    pip install barograph-client
    barograph serve --data-dir ./rag-data &
    python examples/plain_python.py

Another address: ``BAROGRAPH_URL=http://host:4318``. A key: ``BAROGRAPH_KEY=<key>``.
"""

from __future__ import annotations

from library import LOWEST_SCORE, MODEL, NOTHING, PASSAGES, QUESTIONS, Question, count_tokens, embed, reply, words

from barograph_client import Client, stage

INDEX = {name: embed(text) for name, text in PASSAGES.items()}


def retrieve(question: Question) -> list[tuple[str, float]]:
    """The most alike passages with their scores. ``stage`` finds the query that is being timed by itself."""
    with stage("embedding"):
        asked = embed(question.text)
    with stage("retrieval"):
        scores = {name: sum(a * b for a, b in zip(vector, asked, strict=True)) for name, vector in INDEX.items()}
        found = [(name, score) for name, score in scores.items() if score >= LOWEST_SCORE and question.language == "en"]
        return sorted(found, key=lambda one: -one[1])[:3]


def ask(client: Client, question: Question) -> tuple[str, str]:
    """The answer, and the trace's id, which feedback and scores name."""
    with client.query(
        query=question.text,
        user_id=question.user,
        session_id=question.session,
        pipeline="library-plain",
        environment="production",
        model=MODEL,
        tags={"language": question.language},
    ) as query:
        found = retrieve(question)
        query.documents = [{"id": name, "score": score, "text": PASSAGES[name]} for name, score in found]
        prompt = "\n\n".join([*(PASSAGES[name] for name, _ in found), f"Question: {question.text}"])
        text = ""
        with query.stage("generation"):
            for piece in words(reply(prompt)):
                query.first_token()
                text += piece
        query.tokens(input=count_tokens(prompt), output=count_tokens(text))
        query.answer = text
        if text == NOTHING:
            query.status = "no_answer"
        return text, query.trace_id


def groundedness(text: str) -> float:
    """The share of an answer's words that stand in the leaflet."""
    known = set(" ".join(PASSAGES.values()).lower().split())
    said = text.lower().split()
    return sum(word in known for word in said) / len(said)


def main() -> None:
    with Client() as client:  # sends what is still waiting when the block ends
        for question in QUESTIONS:
            try:
                answer, trace_id = ask(client, question)
            except TimeoutError as error:
                print(f"{question.user}: {question.text} -> failed: {error}")
                continue
            print(f"{question.user}: {question.text} -> {answer}")
            score = {"trace_id": trace_id, "name": "groundedness", "value": groundedness(answer), "judge": "words"}
            client.record_score(score)
            rating, comment = (2, "That is no answer.") if answer == NOTHING else (5, "Thank you.")
            client.record_feedback(
                {"trace_id": trace_id, "user_id": question.user, "rating": rating, "comment": comment}
            )
        client.flush(timeout=10)
        print(client.problem or client.counts)


if __name__ == "__main__":
    main()
