import json

from experiments.claims.doc_tables import ROOT
from experiments.claims.published import CLAIMS, SOURCES

RESULTS = ROOT / "results"


def test_every_claim_names_the_source_of_its_number():
    for claims in CLAIMS.values():
        for claim in claims:
            assert claim.source in SOURCES
            assert (claim.number is None) == (claim.source == "-")


def test_every_published_number_is_a_percentage():
    for claims in CLAIMS.values():
        for claim in claims:
            ends = claim.number if isinstance(claim.number, tuple) else (claim.number,)
            for number in (*ends, claim.released):
                assert number is None or 10 < number < 100, claim


def test_every_claim_selects_records_of_the_committed_results():
    missing = []
    for claims in CLAIMS.values():
        for claim in claims:
            folder, fields = claim.best
            lines = (RESULTS / folder / "results.jsonl").read_text().splitlines()
            records = [json.loads(line) for line in lines]
            if not any(fields.items() <= record.items() for record in records):
                missing.append(claim)
    assert not missing
