"""Task scheduling: choose the task to train next, or the weight of each task's loss."""
