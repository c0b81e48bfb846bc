-- How bad it was while an alert fired, beside the value at each transition.

ALTER TABLE alert ADD COLUMN worst Nullable(Float64);
