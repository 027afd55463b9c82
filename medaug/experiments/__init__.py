"""Arms, folds and seeds; metrics with an explicit empty rule; paired statistics by patient."""
