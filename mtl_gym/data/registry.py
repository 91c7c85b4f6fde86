"""Table of the bundled data sets; a new one needs a builder in ``mtl_gym.data.sources`` and an entry here."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtl_gym.core.validation import did_you_mean
from mtl_gym.data.collection import TaskCollection
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import UnknownDatasetError
from mtl_gym.data.sources import (
    brain_series,
    cifar,
    clinical_series,
    code_switched,
    cross_modal,
    digits,
    linear,
    mini_imagenet,
    mnist,
    reviews,
    tagging,
)

Layouts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class DataSource:
    """Description and builder of a bundled data set.

    Attributes:
        name: Name for ``load``.
        description: Description in one line.
        tasks: Number of tasks.
        origin: Authors or sources.
        licence: Licence, if stated.
        size: Size of the files, in words.
        layouts: Alternative sets of files and folders, relative to the data root, in order of preference.
        build: Function that builds the data set from a data root with a complete layout; some take further arguments.
        torchvision: Class in ``torchvision.datasets`` that downloads it, if any.
        by_hand: Instructions for a data set that cannot be downloaded.
    """

    name: str
    description: str
    tasks: int
    origin: str
    licence: str
    size: str
    layouts: Layouts
    build: Callable[..., MultiTaskDataset | TaskCollection]
    torchvision: str | None = None
    by_hand: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders of all layouts, relative to the data root."""
        return tuple(name for layout in self.layouts for name in layout)

    @property
    def downloadable(self) -> bool:
        """True if ``download`` can provide it; always for a data set without files."""
        return self.torchvision is not None or () in self.layouts

    def is_present(self, root: Path) -> bool:
        """Return whether all files of one layout exist in ``root``; their contents are not checked."""
        return any(all(os.path.exists(root / name) for name in layout) for layout in self.layouts)


_REVIEWS = (
    "nobody states a licence for its reviews. Copy the files DOMAIN.task.train and DOMAIN.task.test of data/fdu-mtl in "
    "https://github.com/ccsasuke/man to fdu-mtl/"
)
_CONLL2000 = "train.txt and test.txt of NLTK's corpus conll2000 (https://github.com/nltk/nltk_data) into conll2000/"


def _linear(name: str, description: str, build: Callable[[Path], TaskCollection], layouts: Layouts) -> "DataSource":
    return DataSource(
        name=name,
        description=description,
        tasks=linear.TASKS,
        origin="Kang, Grauman, Sha 2011, if linear30.npz is present; else generated with the same statistics",
        licence="none stated; research use",
        size="0.3 MiB, or none",
        layouts=layouts,
        build=build,
    )


_SOURCES = (
    DataSource(
        name="digits",
        description="is it this digit? on scikit-learn's 1,797 digits of 8x8 pixels",
        tasks=10,
        origin="Alpaydin, Kaynak 1998 (UCI), inside scikit-learn",
        licence="CC BY 4.0",
        size="none: it is part of scikit-learn",
        layouts=((),),
        build=digits.build,
    ),
    DataSource(
        name="mnist",
        description="is it this digit? on MNIST, 10,000 training images per task (MNIST-MTL)",
        tasks=10,
        origin="LeCun, Cortes, Burges",
        licence="CC BY-SA 3.0, as commonly stated",
        size="11 MiB packed, 53 MiB unpacked",
        layouts=(mnist.UNPACKED, mnist.PACKED),
        build=mnist.build,
        torchvision="MNIST",
    ),
    DataSource(
        name="cifar",
        description="CIFAR-100, each coarse label a task of five classes (CIFAR-MTL)",
        tasks=20,
        origin="Krizhevsky 2009",
        licence="none stated; research use with citation",
        size="161 MiB packed, 177 MiB unpacked",
        layouts=(cifar.PICKLES, cifar.ARRAYS),
        build=cifar.build,
        torchvision="CIFAR100",
    ),
    DataSource(
        name="mini-imagenet",
        description="50 classes of mini-ImageNet, 84x84 pixels, in random tasks of five (MIN-MTL)",
        tasks=10,
        origin="Vinyals et al. 2016, from ILSVRC-2012",
        licence="ImageNet terms: non-commercial research",
        size="about 120 MiB, and 606 MiB for the decoded images that are kept beside it",
        layouts=(mini_imagenet.PARTS,),
        build=mini_imagenet.build,
        by_hand=(
            "its licence does not let us fetch it. Get 50 classes of mini-ImageNet yourself and lay them out as "
            "mini-imagenet/train/WNID/*.jpg and mini-imagenet/test/WNID/*.jpg, one folder per class named by its "
            "WordNet id (such as n01532829), images of 84x84 pixels, more than 50 training images per class; "
            "mini-imagenet/classes.txt with lines 'WNID name' is optional"
        ),
    ),
    DataSource(
        name="reviews",
        description="is a review positive? in 16 domains, without the test reviews that leaked into training",
        tasks=16,
        origin="Liu, Qiu, Huang 2017 (FDU-MTL), from Blitzer et al. 2007 and others",
        licence="none stated for the reviews; research use",
        size="22 MiB",
        layouts=(reviews.FILES,),
        build=reviews.build,
        by_hand=_REVIEWS,
    ),
    DataSource(
        name="reviews-leaked",
        description="the same with the training and test files as published",
        tasks=16,
        origin="Liu, Qiu, Huang 2017 (FDU-MTL), from Blitzer et al. 2007 and others",
        licence="none stated for the reviews; research use",
        size="none beside that of reviews",
        layouts=(reviews.FILES,),
        build=reviews.build_leaked,
        by_hand=_REVIEWS,
    ),
    DataSource(
        name="tagging",
        description="parts of speech, chunks and named entities of English news",
        tasks=3,
        origin="CoNLL-2000 (Tjong Kim Sang, Buchholz); CoNLL-2003 (Tjong Kim Sang, De Meulder)",
        licence="LDC and NIST: research use",
        size="8 MiB",
        layouts=(tagging.FILES,),
        build=tagging.build,
        by_hand=(
            f"the licences of its texts do not let us fetch it. Put {_CONLL2000}, and eng.train, eng.testa and "
            "eng.testb of CoNLL-2003 (such as data/ in https://github.com/ZhixiuYe/HSCRF-pytorch) into conll2003/"
        ),
    ),
    DataSource(
        name="code-switched",
        description="parts of speech of Hindi-English posts, with English and Hindi beside them",
        tasks=3,
        origin="Jamatia, Gambaeck, Das 2016 (ICON); CoNLL-2000; Universal Dependencies",
        licence="none stated for the posts; LDC (research use); CC BY-NC-SA 4.0",
        size="9 MiB",
        layouts=(code_switched.FILES,),
        build=code_switched.build,
        by_hand=(
            f"no source provides all three of its parts. Put the coarse Facebook file of ICON 2016's tool contest "
            f"(https://github.com/kz-khan/POS-Tagging) into icon2016/, hi-ud-dev.conllu and hi-ud-test.conllu of UD "
            f"1.2's Hindi (https://github.com/UniversalDependencies/UD_Hindi-HDTB) into ud/, and {_CONLL2000}"
        ),
    ),
    DataSource(
        name="brain-series",
        description="which region is this series from? generated, in the shape of task-fMRI data",
        tasks=4,
        origin="generated, seeded; after Xu et al. 2021 (MT-RMN)",
        licence="as this package",
        size="none: it is generated",
        layouts=((),),
        build=brain_series.build,
    ),
    DataSource(
        name="clinical-series",
        description="did the patient have this phenotype on that day? generated vital signs and laboratory values",
        tasks=6,
        origin="generated, seeded; in place of the appendix of Xu et al. 2021 (MT-RMN)",
        licence="as this package",
        size="none: it is generated",
        layouts=((),),
        build=clinical_series.build,
    ),
    DataSource(
        name="cross-modal",
        description="pictures of CIFAR-100 by coarse label, the next word of WikiText-2, and generated DNA (MUiR)",
        tasks=3,
        origin="Krizhevsky 2009; Merity et al. 2016",
        licence="none stated; CC BY-SA 3.0",
        size="13 MiB beside that of cifar",
        layouts=cross_modal.LAYOUTS,
        build=cross_modal.build,
        by_hand=(
            "no source provides both of its parts. Get cifar (`mtl-gym data get cifar`), and put train.txt, valid.txt "
            "and test.txt of WikiText-2 (such as word_language_model/data in https://github.com/pytorch/examples) into "
            "wikitext-2/"
        ),
    ),
    _linear("linear", "linear regressions in three groups (MUiR)", linear.build, (linear.FILES, ())),
    _linear("linear-noisy", "the same with noisy targets", linear.build_noisy, (linear.FILES, ())),
    _linear("generated-linear", "the stand-in for linear, always generated", linear.build_generated, ((),)),
    _linear("generated-linear-noisy", "the same with noisy targets", linear.build_generated_noisy, ((),)),
)


def catalogue() -> list[DataSource]:
    """Return the descriptions of all bundled data sets.

    Example:
        >>> [(source.name, source.tasks) for source in catalogue()]
        [('digits', 10), ('mnist', 10), ('cifar', 20), ('mini-imagenet', 10),
         ('reviews', 16), ('reviews-leaked', 16), ('tagging', 3), ('code-switched', 3), ('brain-series', 4),
         ('clinical-series', 6), ('cross-modal', 3), ('linear', 30), ('linear-noisy', 30), ('generated-linear', 30),
         ('generated-linear-noisy', 30)]
    """
    return list(_SOURCES)


def names() -> list[str]:
    """Return the names of all bundled data sets."""
    return [source.name for source in _SOURCES]


def find(name: str) -> DataSource:
    """Return the description of a bundled data set.

    Raises:
        UnknownDatasetError: If there is no data set of that name.
    """
    for source in _SOURCES:
        if source.name == name:
            return source
    hint = did_you_mean(str(name).lower(), names())
    raise UnknownDatasetError(f"there is no data set {name!r}.{hint} Known: {', '.join(names())}")
