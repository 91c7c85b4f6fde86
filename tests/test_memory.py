import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from mtl_gym.memory import keep_memory
{call}
torch.set_num_threads(1)
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    activations = [torch.ones(12_000_000) for _ in range(2)]  # above what glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults = [step() for _ in range(16)]
print(sum(faults[10:]))
"""


def page_faults(call):
    return int(subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_is_freed_is_taken_again_without_page_faults():
    assert page_faults("assert keep_memory()") < page_faults("") / 10
