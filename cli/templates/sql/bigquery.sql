{# What BigQuery calls things. #}
{% macro begin() %}WITH{% endmacro %}
{% macro step(name) %}{{ name }} AS ({% endmacro %}
{% macro end(name) %}),{% endmacro %}
{% macro last() %}){% endmacro %}
{% macro int_type() %}INT64{% endmacro %}
{% macro text_type() %}STRING{% endmacro %}
{% macro text(x) %}CAST({{ x }} AS STRING){% endmacro %}
{% macro int(x) %}CAST({{ x }} AS INT64){% endmacro %}
{% macro float(x) %}CAST({{ x }} AS FLOAT64){% endmacro %}
{% macro whole(x) %}SAFE_CAST({{ x }} AS INT64){% endmacro %}
{% macro millis(x) %}UNIX_MILLIS(CAST({{ x }} AS TIMESTAMP)){% endmacro %}
{% macro part(x, separator, place) %}COALESCE(SPLIT({{ x }}, '{{ separator }}')[SAFE_OFFSET({{ place - 1 }})], ''){% endmacro %}
{% macro position(x, text) %}STRPOS({{ x }}, '{{ text }}'){% endmacro %}
{% macro matches(x, pattern) %}REGEXP_CONTAINS({{ x }}, r'{{ pattern }}'){% endmacro %}
{% macro sha256(x) %}TO_HEX(SHA256({{ x }})){% endmacro %}
{% macro digest(prefix, x) %}SUBSTR(TO_HEX(SHA256(CONCAT(FROM_HEX('{{ prefix }}'), CAST({{ x }} AS BYTES)))), 1, 32){% endmacro %}
{% macro hex(x) %}CAST(CONCAT('0x', {{ x }}) AS INT64){% endmacro %}
{% macro div(x, y) %}DIV(CAST({{ x }} AS INT64), {{ y }}){% endmacro %}
{% macro mod(x, y) %}MOD({{ x }}, {{ y }}){% endmacro %}
{% macro list(x) %}STRING_AGG({{ x }}, ' '){% endmacro %}
{% macro log2(x) %}LOG({{ x }}, 2){% endmacro %}
{% macro variance(x) %}VAR_POP({{ x }}){% endmacro %}
{% macro covariance(y, x) %}COVAR_POP({{ y }}, {{ x }}){% endmacro %}
{% macro bytes(x) %}{{ x }}{% endmacro %}
