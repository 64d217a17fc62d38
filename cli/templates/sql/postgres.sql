{# What PostgreSQL calls things. #}
{# Temporary tables, since PostgreSQL has no statistics of common table expressions. #}
{% macro begin() %}{% endmacro %}
{% macro step(name) %}CREATE TEMPORARY TABLE {{ name }} AS ({% endmacro %}
{% macro end(name) %}); ANALYZE {{ name }};{% endmacro %}
{% macro last() %});{% endmacro %}
{% macro int_type() %}bigint{% endmacro %}
{% macro text_type() %}text{% endmacro %}
{% macro text(x) %}CAST({{ x }} AS text){% endmacro %}
{% macro int(x) %}CAST({{ x }} AS bigint){% endmacro %}
{% macro float(x) %}CAST({{ x }} AS double precision){% endmacro %}
{% macro whole(x) %}CAST(CASE WHEN {{ x }} ~ '^[0-9]{1,18}$' THEN {{ x }} END AS bigint){% endmacro %}
{% macro millis(x) %}CAST(EXTRACT(EPOCH FROM CAST({{ x }} AS timestamptz)) * 1000 AS bigint){% endmacro %}
{% macro part(x, separator, place) %}split_part({{ x }}, '{{ separator }}', {{ place }}){% endmacro %}
{% macro position(x, text) %}strpos({{ x }}, '{{ text }}'){% endmacro %}
{% macro matches(x, pattern) %}({{ x }} ~ '{{ pattern }}'){% endmacro %}
{% macro sha256(x) %}encode(sha256(convert_to({{ x }}, 'UTF8')), 'hex'){% endmacro %}
{% macro digest(prefix, x) %}substr(encode(sha256(decode('{{ prefix }}', 'hex') || convert_to({{ x }}, 'UTF8')), 'hex'), 1, 32){% endmacro %}
{% macro hex(x) %}CAST(CAST('x' || {{ x }} AS bit(32)) AS bigint){% endmacro %}
{% macro div(x, y) %}(CAST({{ x }} AS bigint) / CAST({{ y }} AS bigint)){% endmacro %}
{% macro mod(x, y) %}(({{ x }}) % {{ y }}){% endmacro %}
{% macro list(x) %}string_agg({{ x }}, ' '){% endmacro %}
{% macro log2(x) %}(ln({{ x }}) / ln(CAST(2 AS double precision))){% endmacro %}
{% macro variance(x) %}var_pop({{ x }}){% endmacro %}
{% macro covariance(y, x) %}covar_pop({{ y }}, {{ x }}){% endmacro %}
{% macro bytes(x) %}{{ x }} COLLATE "C"{% endmacro %}
