"""Templates that try to take all of a machine's time or memory; each must end with an error."""

from __future__ import annotations

_TIMES = "{% for i in range(9999) %}"
_END = "{% endfor %}"

HOSTILE: dict[str, str] = {
    "doubling": "{% set x = 'xxxxxxxx' %}" + "{% set x = x + x %}" * 40,
    "doubling in a loop": "{% set n = namespace(x='x') %}" + _TIMES + "{% set n.x = n.x ~ n.x %}" + _END,
    "doubling by capture": "{% set x %}xxxxxxxx{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "doubling by a macro": "{% macro m(d) %}{% if d %}{{ m(d-1) }}{{ m(d-1) }}{% else %}x{% endif %}"
    "{% endmacro %}{{ m(60) }}",
    "doubling lists": "{% set x = [1, 2, 3, 4] %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    "lists of the same list": "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "maps of the same map": "{% set x = {} %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x | tojson }}",
    "repeating": "{{ 'x' * 10**9 }}",
    "repeating a name": "{% set x = 'x' * 9 %}{{ x * 999999999 }}",
    "repeating many": "{{ 'x' * 99999999 }}" * 1000,
    "repeating lists": "{{ ([0] * 10**9) | list | length }}",
    "replacing": "{% set x = 'xxxxxxxx' %}" + "{% set x = x | replace('x', x) %}" * 9,
    "replacing by a method": "{% set x = 'xxxxxxxx' %}" + "{% set x = x.replace('', x) %}" * 9,
    "joining": "{% set x = 'x' * 9999 %}{{ range(9999) | join(x) }}",
    "joining by a method": "{% set x = 'x' * 9999 %}{{ x.join(x) }}",
    "indenting": "{{ 'a\\nb' | indent(10**9) }}",
    "indenting by name": "{{ 'a\\nb' | indent(width=999999999) }}",
    "formatting": "{{ '%999999999d' | format(1) }}",
    "formatting by a method": "{{ '{:>999999999}'.format(1) }}",
    "formatting to a width in a field": "{{ '{:{}}'.format(1, 999999999) }}",
    "formatting to a given width": "{{ '%*d' | format(999999999, 1) }}",
    "json with an indentation": "{{ range(9999) | list | tojson(indent=16) }}" * 9,
    "a list of characters": "{% set x = 'x' * 9999 %}{% set x = x * 99 %}" + "{{ x | list | length }}" * 999,
    "filters in a filter": "{% set x = 'x' * 9999 %}"
    "{{ range(9999) | map('string') | map('replace', '', x) | list }}",
    "text without an end": "{% for i in range(9999) %}{% for j in range(9999) %}xxxxxxxx" + _END * 2,
    "captured text without an end": "{% set x %}" + _TIMES * 2 + "x" * 10000 + _END * 2 + "{% endset %}",
    "loops": _TIMES * 3 + _END * 3,
    "slices": "{% set x = 'x' * 9999 %}{% set x = x * 99 %}"
    + _TIMES * 2
    + "{% if x[::-1] == x[::-1] %}{% endif %}"
    + _END * 2,
    "looking for a text": "{% set x = 'x' * 9999 %}{% set x = x * 99 %}"
    + _TIMES * 2
    + "{% if (x ~ 'y') in x %}{% endif %}"
    + _END * 2,
    "recursion": "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "recursion of a loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "nesting": "{% set n = namespace(x=[]) %}" + _TIMES + "{% set n.x = [n.x] %}" + _END + "{{ n.x }}",
    "slices of slices": "{% set n = namespace(x=[1, 2]) %}"
    + _TIMES
    + "{% set n.x = n.x[0:] %}"
    + _END
    + "{{ n.x | length }}{% for i in range(9999) %}{{ 'xxxxxxxxxxxxxxxx' }}{% endfor %}",
    "a namespace in itself": "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
    "a namespace in its list": "{% set n = namespace() %}{% set n.n = [{'a': n}] %}{{ n }}",
    "a long expression": "{{ 1" + "+1" * 50000 + " }}",
    "a long chain": "{{ messages" + "|list" * 20000 + " }}",
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    "a long template": "x" * 200000,
    "blocks": "{% block a %}{{ self.a() }}{% endblock %}",
}
