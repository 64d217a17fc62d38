{# What Snowflake calls things. #}
{% macro begin() %}WITH{% endmacro %}
{% macro step(name) %}{{ name }} AS ({% endmacro %}
{% macro end(name) %}),{% endmacro %}
{% macro last() %}){% endmacro %}
{% macro int_type() %}BIGINT{% endmacro %}
{% macro text_type() %}VARCHAR{% endmacro %}
{% macro text(x) %}CAST({{ x }} AS VARCHAR){% endmacro %}
{% macro int(x) %}CAST({{ x }} AS BIGINT){% endmacro %}
{% macro float(x) %}CAST({{ x }} AS DOUBLE){% endmacro %}
{% macro whole(x) %}TRY_TO_NUMBER({{ x }}){% endmacro %}
{% macro millis(x) %}DATE_PART(EPOCH_MILLISECOND, CAST({{ x }} AS TIMESTAMP_TZ)){% endmacro %}
{% macro part(x, separator, place) %}COALESCE(SPLIT_PART({{ x }}, '{{ separator }}', {{ place }}), ''){% endmacro %}
{% macro position(x, text) %}POSITION('{{ text }}', {{ x }}){% endmacro %}
{% macro matches(x, pattern) %}REGEXP_LIKE({{ x }}, '{{ pattern }}'){% endmacro %}
{% macro sha256(x) %}SHA2({{ x }}, 256){% endmacro %}
{% macro digest(prefix, x) %}SUBSTR(SHA2(CONCAT(TO_BINARY('{{ prefix }}', 'HEX'), TO_BINARY({{ x }}, 'UTF-8')), 256), 1, 32){% endmacro %}
{% macro hex(x) %}TO_NUMBER({{ x }}, 'XXXXXXXX'){% endmacro %}
{% macro div(x, y) %}((({{ x }}) - MOD({{ x }}, {{ y }})) / ({{ y }})){% endmacro %}
{% macro mod(x, y) %}MOD({{ x }}, {{ y }}){% endmacro %}
{% macro list(x) %}LISTAGG({{ x }}, ' '){% endmacro %}
{% macro log2(x) %}LOG(2, {{ x }}){% endmacro %}
{% macro variance(x) %}VAR_POP({{ x }}){% endmacro %}
{% macro covariance(y, x) %}COVAR_POP({{ y }}, {{ x }}){% endmacro %}
{% macro bytes(x) %}{{ x }}{% endmacro %}
