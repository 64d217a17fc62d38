{# What DuckDB calls things. #}
{% macro script() %}{% endmacro %}
{% macro text(x) %}CAST({{ x }} AS VARCHAR){% endmacro %}
{% macro whole(x) %}TRY_CAST({{ x }} AS BIGINT){% endmacro %}
{% macro float(x) %}CAST({{ x }} AS DOUBLE){% endmacro %}
{% macro millis(x) %}epoch_ms(CAST({{ x }} AS TIMESTAMP)){% endmacro %}
{% macro part(x, separator, place) %}split_part({{ x }}, '{{ separator }}', {{ place }}){% endmacro %}
{% macro position(x, text) %}strpos({{ x }}, '{{ text }}'){% endmacro %}
{% macro matches(x, pattern) %}regexp_matches({{ x }}, '{{ pattern }}'){% endmacro %}
{% macro sha256(x) %}sha256({{ x }}){% endmacro %}
{% macro digest(prefix, x) %}substr(sha256(unhex('{{ prefix }}') || encode({{ x }})), 1, 32){% endmacro %}
{% macro hex(x) %}CAST('0x' || {{ x }} AS BIGINT){% endmacro %}
{% macro div(x, y) %}(({{ x }}) // ({{ y }})){% endmacro %}
{% macro list(x) %}string_agg({{ x }}, ' '){% endmacro %}
{% macro log2(x) %}log2({{ x }}){% endmacro %}
{% macro variance(x) %}var_pop({{ x }}){% endmacro %}
{% macro covariance(y, x) %}covar_pop({{ y }}, {{ x }}){% endmacro %}
{% macro begin() %}WITH{% endmacro %}
{% macro step(name) %}{{ name }} AS MATERIALIZED ({% endmacro %}
{% macro end(name) %}),{% endmacro %}
{% macro last() %}){% endmacro %}
{% macro int_type() %}BIGINT{% endmacro %}
{% macro text_type() %}VARCHAR{% endmacro %}
{% macro int(x) %}CAST({{ x }} AS BIGINT){% endmacro %}
{% macro mod(x, y) %}(({{ x }}) % {{ y }}){% endmacro %}
{% macro bytes(x) %}{{ x }}{% endmacro %}
