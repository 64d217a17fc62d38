{# What Spark SQL calls things. Each step is a table: Spark computes a common table expression each time it is read, and writes
   the plan of a cached view into that of each view which reads it, so that the plan of the last step would fill its memory. #}
{% macro begin() %}-- Each step becomes a table. Run this in a schema of its own, and drop that afterwards:
-- CREATE SCHEMA sums; USE sums; …; DROP SCHEMA sums CASCADE. The tables of the input need their schema in their names.
{% endmacro %}
{% macro step(name) %}CREATE TABLE {{ name }} USING parquet AS{% endmacro %}
{% macro end(name) %};{% endmacro %}
{% macro last() %};{% endmacro %}
{% macro int_type() %}BIGINT{% endmacro %}
{% macro text_type() %}STRING{% endmacro %}
{% macro text(x) %}CAST({{ x }} AS STRING){% endmacro %}
{% macro int(x) %}CAST({{ x }} AS BIGINT){% endmacro %}
{% macro float(x) %}CAST({{ x }} AS DOUBLE){% endmacro %}
{% macro whole(x) %}TRY_CAST({{ x }} AS BIGINT){% endmacro %}
{% macro millis(x) %}UNIX_MILLIS(CAST({{ x }} AS TIMESTAMP)){% endmacro %}
{% macro part(x, separator, place) %}SPLIT_PART({{ x }}, '{{ separator }}', {{ place }}){% endmacro %}
{% macro position(x, text) %}INSTR({{ x }}, '{{ text }}'){% endmacro %}
{% macro matches(x, pattern) %}({{ x }} RLIKE '{{ pattern }}'){% endmacro %}
{% macro sha256(x) %}SHA2({{ x }}, 256){% endmacro %}
{% macro digest(prefix, x) %}SUBSTR(SHA2(CONCAT(UNHEX('{{ prefix }}'), CAST({{ x }} AS BINARY)), 256), 1, 32){% endmacro %}
{% macro hex(x) %}CAST(CONV({{ x }}, 16, 10) AS BIGINT){% endmacro %}
{% macro div(x, y) %}(({{ x }}) DIV ({{ y }})){% endmacro %}
{% macro mod(x, y) %}(({{ x }}) % {{ y }}){% endmacro %}
{% macro list(x) %}CONCAT_WS(' ', COLLECT_LIST({{ x }})){% endmacro %}
{% macro log2(x) %}LOG2({{ x }}){% endmacro %}
{% macro variance(x) %}VAR_POP({{ x }}){% endmacro %}
{% macro covariance(y, x) %}COVAR_POP({{ y }}, {{ x }}){% endmacro %}
{% macro bytes(x) %}{{ x }}{% endmacro %}
