"""Words that stand on most health pages: two texts that share them share little. Function words and the names of
question types are not here; judges.reference.words.STOP_WORDS has them.
"""

from __future__ import annotations

from judges.reference.text import stem

COMMON = frozenset(
    stem(word)
    for word in """
    relate affect affected body cell occur blood individual mutation medicine drug syndrome form result car carry child
    normal health healthy severe change provide however rare tissue older small large lose muscle abnormal infection
    time early high low involve system test skin function brain protein research reduce cancer move cope see heart
    associate associated surgery pattern grow feature nerve appear control long short unknown level bone therapy
    specific specialist weak eye different year vary depend area life organ important characterize physical work
    produce new begin amount support number birth mild remove present example particular learn information autosomal
    recessive dominant ache less pass base history lead man woman adult back face study percent report locate experience
    chronic vessel role primary respond rest whether slow link improve
    """.split()
)
