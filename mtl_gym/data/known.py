"""Digests of the published data files by folder and name, for comparison with the user's files.

Digests of texts exclude carriage returns at line ends.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """One published file.

    Attributes:
        rows: Number of samples: reviews, sentences, lines, images or tasks.
        sha256: Digest of the contents, in hexadecimal.
        blob: Git blob hash of another edition of the same samples, if there is one.
    """

    rows: int
    sha256: str
    blob: str = ""

    def is_of(self, content: bytes | memoryview) -> bool:
        """Return whether these are the contents of the published file or of its other edition."""
        if hashlib.sha256(content).hexdigest() == self.sha256:
            return True
        header = f"blob {len(content)}\0".encode()
        return bool(self.blob) and hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == self.blob


# The training text of WikiText-2 goes round with its articles in two orders.
KNOWN = {
    "fdu-mtl/books.task.train": Known(1600, "40c4c5971165b9e0a509a60472c3bf06c8e1430d4944833141eb3c34d986b65e"),
    "fdu-mtl/books.task.test": Known(400, "b451ac03e48b599bf35dd1a450158389e1ac9018950e95c631053ac14a5b10ad"),
    "fdu-mtl/electronics.task.train": Known(1598, "bb2f28c4a20e3d075dd71ff049970bd445f4d47bcc8404a68eb03850413a8da7"),
    "fdu-mtl/electronics.task.test": Known(400, "a4d2e7d2a5b8b501a6611e45e1b241aa0d601388b79265cfc94c203cb52f8b8c"),
    "fdu-mtl/dvd.task.train": Known(1600, "47334240d9cef76ac5f15a10f9082c3d2c6e7f9a9bb0478a3800ede2a0300771"),
    "fdu-mtl/dvd.task.test": Known(400, "762e6e030892375eda4f211be58624a3bb6a07c966901c79b803837d21fca4b5"),
    "fdu-mtl/kitchen_housewares.task.train": Known(
        1600, "df5c9e8473b084a6b252dfbb5e074adcaacb9638a882fee3f20d62d747f45d6f"
    ),
    "fdu-mtl/kitchen_housewares.task.test": Known(
        400, "86bcc015f7cfa773880951830ac6161dc2b8717e8a69773ca11a5bd6529b2020"
    ),
    "fdu-mtl/apparel.task.train": Known(1600, "589702d71eded8ca23907acf6e434f203c8c6feb09737106f77f03707641ffc3"),
    "fdu-mtl/apparel.task.test": Known(400, "8e591ec14fa0e3d26837b9a40c99d3a93b49f47e7a3fbe4d0afe1b4e1dd45439"),
    "fdu-mtl/camera_photo.task.train": Known(1597, "425bf93c303b2f38d2f53649508ea9e55d0114679ecb00fda5c2c15ebbe9e708"),
    "fdu-mtl/camera_photo.task.test": Known(400, "3fdea0837d6c41f04720dce8d2e690bbdeb5019ecac749f8f38472ac1dcfa439"),
    "fdu-mtl/health_personal_care.task.train": Known(
        1600, "384f1ec3d76a2f755844cac4bd7725b86bc79910dae60fc33f133e380f827b4a"
    ),
    "fdu-mtl/health_personal_care.task.test": Known(
        400, "07f289177da7ebe71f1ac2ee3d5a25f190913e2a11116f0fb55862e01b60a331"
    ),
    "fdu-mtl/music.task.train": Known(1600, "f0b41243475c16391a02e91d87710ed87d68927d4d77f526a3d2369a98ac572e"),
    "fdu-mtl/music.task.test": Known(400, "54a157c56930b9e587b6b955fe4b2e3258d2f70d0d58ccbbf40a4bfd846ee204"),
    "fdu-mtl/toys_games.task.train": Known(1600, "bb8404d3b48ab02bca2a75bb1e245297aac36b8143a81549f6485b4c2d24dd10"),
    "fdu-mtl/toys_games.task.test": Known(400, "6ee304a53f25697ee96bcb60fe07cc36d282ef343c3e0f8ae09df669ec39b116"),
    "fdu-mtl/video.task.train": Known(1600, "2867b3e5fffc44132aa61ff49dd608eeacc503b2c9c2133680f0cb4a7a258f3e"),
    "fdu-mtl/video.task.test": Known(400, "8de7a49ee3001409c9049b1f52949d78c7875cb92e031b43f5cef681dfd341e4"),
    "fdu-mtl/baby.task.train": Known(1500, "0d884186f3aef0e12dafac0a875887fe631de0df992b15158ab177763882bf57"),
    "fdu-mtl/baby.task.test": Known(400, "8763bb4b8bbf83b93b6aab03706719fc742fb7d89830a6bd95ea1c2490ea58f7"),
    "fdu-mtl/magazines.task.train": Known(1570, "d4805a9f094c1c7befa64bc42ea846261b1290a2fd120c46f45c9e89faf782ae"),
    "fdu-mtl/magazines.task.test": Known(400, "620ecd0ccd7b7f73483b8cdcef5ca07dff92e2d57c9cf4b6e9f7d669a681f6c3"),
    "fdu-mtl/software.task.train": Known(1515, "a050cb3ea22b94b21ce70acff3a23eabd1f39307bd862d6c0cc23170eb4830f4"),
    "fdu-mtl/software.task.test": Known(400, "3b92617a5b3ad618b7aaab98546d49c2a69f46dedbceb4ec14dee1cbb4ff02d3"),
    "fdu-mtl/sports_outdoors.task.train": Known(
        1600, "062ac0e2fb04a81c1f06f15b219634810a323a2ee187750e2f479030ebad0326"
    ),
    "fdu-mtl/sports_outdoors.task.test": Known(400, "77394d7c91fbc69cc16bfaf79f1f945999fe2d8e0fc536f1f79d17089e611f49"),
    "fdu-mtl/imdb.task.train": Known(1600, "16dd91ee7aebde130cfeb4d1c58bfe221ad87f1862fdb8ae694693eec3432caa"),
    "fdu-mtl/imdb.task.test": Known(400, "dc708b7338157a6be56a1ded26abd97f82284d0e736876a6b833ad59e8a2cd53"),
    "fdu-mtl/MR.task.train": Known(1600, "a6f222085a50061dd560c3beafc968679abae74683e3d18a66b619c5e2d178dc"),
    "fdu-mtl/MR.task.test": Known(400, "82ec2a6d570978d173240dfd655c25e151761d7d0ace365725745a361e6fabea"),
    "conll2000/train.txt": Known(8936, "82033cd7a72b209923a98007793e8f9de3abc1c8b79d646c50648eb949b87cea"),
    "conll2000/test.txt": Known(2012, "73b7b1e565fa75a1e22fe52ecdf41b6624d6f59dacb591d44252bf4d692b1628"),
    "conll2003/eng.train": Known(14041, "bed631399cb0e859c4b446438ce57dfe0208792ca6106ef11620877355494c3a"),
    "conll2003/eng.testa": Known(3250, "aa83a45b88e4952998156583e2ff5a8be7c1f04fb9efa3a29cd87fac2c883807"),
    "conll2003/eng.testb": Known(3453, "443914daf51328868558859b28252a28caee2fd02b65e77987977d6489246c5f"),
    "icon2016/FB_HI_EN_CR.txt": Known(772, "97658ff8b0c90ae933f01ad14286da09fd395e8201854bbe7ebe216374a3efef"),
    "ud/hi-ud-dev.conllu": Known(1659, "3d9ac8e5cd3387abe56b50c3f5d52e354afca5e9c1d44908508f4b407b7519b9"),
    "ud/hi-ud-test.conllu": Known(1684, "e7ab01b6880496c295e0ef5a2db5d6004368e01c61cb0d390bed0c3ee33969bf"),
    "wikitext-2/train.txt": Known(
        36718,
        "728c77e87e176af4730f9a80fc6008bcaff421a7202c1c048877c0eec3685f89",
        blob="2d84b35af79e411d73ea7cae83c73964c6ac83b4",
    ),
    "wikitext-2/valid.txt": Known(3760, "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
    "wikitext-2/test.txt": Known(4358, "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
    "raw/train-images-idx3-ubyte": Known(60000, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "raw/train-labels-idx1-ubyte": Known(60000, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "raw/t10k-images-idx3-ubyte": Known(10000, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "raw/t10k-labels-idx1-ubyte": Known(10000, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    "linear30.npz": Known(30, "af5db9a99caf98d86526185ac464864ad652a32d4d1596e1ff8a13e91f055d01"),
    "cifar100.npz:train_images": Known(50000, "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430"),
    "cifar100.npz:train_fine": Known(50000, "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3"),
    "cifar100.npz:test_images": Known(10000, "8532fd42ce092c665328a7201998ab7e8768dad37afff89be94e13106523a495"),
    "cifar100.npz:test_fine": Known(10000, "7335f3ca04ad4876c5479947470a13b869b8fe2143b1077bb51b95a0c23892b1"),
}
