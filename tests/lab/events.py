"""A run's TensorBoard events as TensorBoard shows them."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder):
    """Steps and values by tag."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
