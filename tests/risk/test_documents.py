"""The README lists every reason code, as the code does."""

from pathlib import Path

from risk.core.reasons import DESCRIPTIONS

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- reason codes: begin -->\n", "<!-- reason codes: end -->"


def make_table() -> str:
    rows = [f"| `{code.value}` | {text} |" for code, text in DESCRIPTIONS.items()]
    return "\n".join(["| code | the order was denied because |", "|---|---|", *rows]) + "\n"


def test_the_readme_lists_every_reason_code_in_the_order_that_names_a_denial():
    text = README.read_text(encoding="utf-8")
    listed = text.split(BEGIN)[1].split(END)[0]
    assert listed.strip().endswith(make_table().strip()), f"put this between the markers:\n{make_table()}"
