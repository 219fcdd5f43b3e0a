"""Every test has a deadline."""

import deadlines

deadline = deadlines.deadline(60)
