import json

from experiments.claims.doc_tables import ROOT
from experiments.claims.published import CLAIMS, FIGURE, SOURCES, STRATEGIES

RESULTS = ROOT / "results"


def test_every_claim_names_the_source_of_its_number():
    for claims in CLAIMS.values():
        for claim in claims:
            assert claim.source in SOURCES
            assert (claim.number is None) == (claim.source == "-")


def test_every_published_number_is_a_percentage():
    for claims in CLAIMS.values():
        for claim in claims:
            for number in (claim.number, claim.released):
                assert number is None or 10 < number < 100, claim


def test_the_figure_holds_the_numbers_of_the_text():
    in_text = {90.03, 87.75, 69.73, 62.85, 95.17, 94.16}
    assert in_text <= {number for pairs in FIGURE.values() for pair in pairs for number in pair}
    assert all(len(pairs) == len(STRATEGIES) for pairs in FIGURE.values())


def test_every_claim_selects_records_of_the_committed_results():
    missing = []
    for claims in CLAIMS.values():
        for claim in claims:
            if claim.best is None:
                continue
            folder, fields = claim.best
            lines = (RESULTS / folder / "results.jsonl").read_text().splitlines()
            records = [json.loads(line) for line in lines]
            if not any(fields.items() <= record.items() for record in records):
                missing.append(claim)
    assert not missing
