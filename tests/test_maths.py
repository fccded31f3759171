"""LaTeX becomes readable where it can, and stays as it is where not."""

from __future__ import annotations

import pytest

from glimp_local.tui.maths import readable


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"so \(x^2 \le \beta\) holds", "so x^2 ≤ β holds"),
        (r"so $x \neq y$ holds", "so x ≠ y holds"),
        (r"\[ \frac{1}{2} \times 4 \]", "> 1/2 × 4"),  # noqa: RUF001 - no letter x
        (r"$$\sqrt{2}$$", "> √(2)"),
        (r"is \boxed{41} marbles", "is **[ 41 ]** marbles"),
        (r"is \boxed{\frac{1}{2}}", "is **[ 1/2 ]**"),
        ("costs $5 and then $7 more", "costs $5 and then $7 more"),
        ("`$x$` is code", "`$x$` is code"),
        ("```\n\\(x\\)\n```", "```\n\\(x\\)\n```"),
        ("nothing to do", "nothing to do"),
    ],
)
def test_formulas_become_readable(latex: str, shown: str) -> None:
    assert readable(latex).strip() == shown


@pytest.mark.parametrize("latex", [r"an open \(x^2", r"\boxed{4", "$$x", r"\(\frac{1\)", r"\begin{x}"])
def test_what_is_not_whole_stays_as_it_is(latex: str) -> None:
    assert readable(latex).replace("\\\\", "\\") == latex


def test_a_formula_is_not_markdown() -> None:
    assert readable(r"\(a * b * c\) and \(x_1 + x_2\)") == r"a \* b \* c and x\_1 + x\_2"
