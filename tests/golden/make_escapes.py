#!/usr/bin/python3
"""Makes escapes.txt: hostile names and what they become, written with Python's html and csv modules as the oracle.

Four lines a name: the name (its bytes in hexadecimal), then its form for HTML, CSV and LaTeX.
"""
import csv
import html
import io
import os
import unicodedata

names = [
    "tench", "crème brûlée", "狐", "black-and-white fox", "a & b", "50% off", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)",
    " =1+1", "\t=1", "</script><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "it's", "x,y", "say \"hi\"",
    "\\input{/etc/passwd}", "\\write18{rm}", "$x^2_3$ #~{}", "`tick`", "a|b", "\u202eevil\u202c", "tab\there", "bell\x07", "\x1b[31mred",
    "zero\u200bwidth", "line\u2028sep", "trail ", "%0a", "--", "<b>", "a;b", "\ufeffbom", "\u0085", "del\x7f",
]


def hidden(c):
    return unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")


def spell(c):
    return "\\u{%04x}" % ord(c)


def shown(text):
    return "".join(spell(c) if hidden(c) else c for c in text)


def for_html(text):
    return html.escape(shown(text), quote=True).replace("&#x27;", "&#39;")


def for_csv(text):
    start = text.lstrip(" ")[:1]
    body = ("'" if start and start in "=+-@\t\r|%" else "") + shown(text)
    plain = io.StringIO()
    needs = any(c in text for c in ";'") or text[:1] == " " or text[-1:] == " "
    csv.writer(plain, quoting=csv.QUOTE_ALL if needs else csv.QUOTE_MINIMAL, lineterminator="").writerow([body])
    return plain.getvalue()


latex = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}",
         ">": "\\textgreater{}", "|": "\\textbar{}", '"': "\\textquotedbl{}", "-": "{-}", "`": "\\textasciigrave{}",
         "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}"}

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "escapes.txt"), "w", encoding="utf-8", newline="\n") as f:
    for n in names:
        f.write("\n".join([n.encode().hex(), for_html(n), for_csv(n), "".join(latex.get(c, c) for c in shown(n))]) + "\n")
