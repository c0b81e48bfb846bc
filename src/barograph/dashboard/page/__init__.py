"""The pages, one file each: which questions are asked, and which shape shows each answer."""
