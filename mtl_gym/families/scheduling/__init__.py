"""Task scheduling: which task should be trained next, or how much should each task's loss count?"""
