{# What ClickHouse calls things. Joins give NULL, and a name is a column before it is an alias. #}
{% macro begin() %}SET join_use_nulls = 1;
SET prefer_column_name_to_alias = 1;
SET enable_analyzer = 1;{% endmacro %}
{% macro step(name) %}CREATE TEMPORARY TABLE {{ name }} ENGINE = Memory AS{% endmacro %}
{% macro end(name) %};{% endmacro %}
{% macro last() %};{% endmacro %}
{% macro int_type() %}Nullable(Int64){% endmacro %}
{% macro text_type() %}Nullable(String){% endmacro %}
{% macro text(x) %}CAST({{ x }} AS Nullable(String)){% endmacro %}
{% macro int(x) %}CAST({{ x }} AS Nullable(Int64)){% endmacro %}
{% macro float(x) %}CAST({{ x }} AS Nullable(Float64)){% endmacro %}
{% macro whole(x) %}toInt64OrNull({{ x }}){% endmacro %}
{% macro millis(x) %}toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(CAST({{ x }} AS Nullable(String)), 3, 'UTC')){% endmacro %}
{% macro part(x, separator, place) %}splitByString('{{ separator }}', COALESCE({{ x }}, ''))[{{ place }}]{% endmacro %}
{% macro position(x, text) %}position({{ x }}, '{{ text }}'){% endmacro %}
{% macro matches(x, pattern) %}match(COALESCE({{ x }}, ''), '{{ pattern }}'){% endmacro %}
{% macro sha256(x) %}lower(hex(SHA256(COALESCE({{ x }}, '')))){% endmacro %}
{% macro digest(prefix, x) %}substring(lower(hex(SHA256(concat(unhex('{{ prefix }}'), COALESCE({{ x }}, ''))))), 1, 32){% endmacro %}
{% macro hex(x) %}toInt64(reinterpretAsUInt32(reverse(unhex(COALESCE({{ x }}, ''))))){% endmacro %}
{% macro div(x, y) %}intDiv({{ x }}, {{ y }}){% endmacro %}
{% macro mod(x, y) %}(({{ x }}) % {{ y }}){% endmacro %}
{% macro list(x) %}arrayStringConcat(groupArray({{ x }}), ' '){% endmacro %}
{% macro log2(x) %}log2({{ x }}){% endmacro %}
{% macro variance(x) %}varPopStable({{ x }}){% endmacro %}
{% macro covariance(y, x) %}covarPopStable({{ y }}, {{ x }}){% endmacro %}
{% macro bytes(x) %}{{ x }}{% endmacro %}
