"""Reader of the TensorBoard events of a run."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder):
    """Return steps and values by tag."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
