"""LaTeX becomes readable where it can, and stays as it is where not."""

from __future__ import annotations

import pytest

from glimp_local.tui.maths import readable


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"so \(x^2 \le \beta\) holds", "so x² ≤ β holds"),
        (r"so $x \neq y$ holds", "so x ≠ y holds"),
        (r"\[ \frac{1}{2} \times 4 \]", "> 1/2 × 4"),  # noqa: RUF001 - no letter x
        (r"$$\sqrt{2}$$", "> √(2)"),
        (r"is \boxed{41} marbles", r"is **\[ 41 \]** marbles"),
        (r"is \boxed{\dfrac{7}{2}}", r"is **\[ 7/2 \]**"),
        (r"$2\frac{1}{2}$ or $\frac{1}{2}x$", "2 1/2 or 1/2 x"),
        (r"$\frac{x+1}{x-1}$", "(x+1)/(x-1)"),
        (r"$x^{a+b}$, $2^{10}$, $e^{-\frac{1}{2}}$", r"x^(a+b), 2¹⁰, e^(-1/2)"),
        (r"$\sum_{i=1}^{n} i$, $\log_{10} x$", "∑ᵢ₌₁ⁿ i, log₁₀ x"),
        (r"$\binom{n}{k}$, $7 \bmod 3$, $a \equiv b \pmod{7}$", "C(n, k), 7 mod 3, a ≡ b (mod 7)"),
        (r"\(20% of 50\)", "20% of 50"),
        (r"\(\left(\frac{1}{2}\right)\)", "(1/2)"),
        (r"$\sqrt[3]{8}$, $90^\circ$, $\angle ABC$", "∛(8), 90°, ∠ ABC"),
        (r"$5\text{ apples}$", "5 apples"),
        ("costs $5 and then $7 more", "costs $5 and then $7 more"),
        ("`$x$` is code", "`$x$` is code"),
        ("```\n\\(x\\)\n```", "```\n\\(x\\)\n```"),
        ("nothing to do", "nothing to do"),
    ],
)
def test_formulas_become_readable(latex: str, shown: str) -> None:
    assert readable(latex).strip() == shown


@pytest.mark.parametrize(
    "latex",
    [
        r"an open \(x^2",
        r"\boxed{4",
        "$$x",
        r"\(\frac{1\)",
        r"\begin{x}",
        r"$\unknown{x}$",
        r"$0.\overline{3}$",
        r"$\sqrt[7]{x}$",
        r"\[a & b\]",
        r"$\begin{matrix}1\end{matrix}$",
    ],
)
def test_what_is_not_whole_stays_as_it_is(latex: str) -> None:
    assert readable(latex).replace("\\\\", "\\") == latex


def test_a_formula_is_not_markdown() -> None:
    assert readable(r"\(a * b * c\) and \(x_1 + x_2\)") == r"a \* b \* c and x₁ + x₂"
