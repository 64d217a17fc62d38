-- With covariates.
{%- for covariate in covariates %}
{%- set i = loop.index0 %}
{%- set known = 'known' ~ i %}
{%- set of_first = 'FROM (SELECT t.pass AS pass, t.phase AS phase, t.arm AS arm, ' %}
{%- set first = 'FROM told t JOIN units_before b ON b.pass = t.pass AND b.unit = t.unit WHERE t.place = 1' %}
{{ or_all }}{{ row('covariate', 'FROM (SELECT DISTINCT pass FROM passes) p', pass='pass', place=i, n='0', items=quote(covariate.name)) }}
{{ or_all }}{{ row('covariate_rows', 'FROM covariates_of_units GROUP BY pass', quote(covariate.name), 'pass', n='SUM(rows' ~ i ~ ')') }}
{{ or_all }}{{ row('covariate_late_rows', 'FROM covariates_of_units GROUP BY pass', quote(covariate.name), 'pass', n='SUM(late' ~ i ~ ')') }}
{{ or_all }}{{ row('covariate_several', 'FROM covariates_of_units WHERE least' ~ i ~ ' < most' ~ i ~ ' GROUP BY pass', quote(covariate.name), 'pass', n='COUNT(*)') }}
{{ or_all }}{{ pairs('covariate_unknown', of_first ~ d.float('CASE WHEN b.' ~ known ~ ' IS NULL THEN 1 ELSE 0 END') ~ ' AS y, ' ~ d.float('1') ~ ' AS x ' ~ first ~ ') t', 'pass, phase, arm', quote(covariate.name)) }}
{{ or_all }}{{ pairs('covariate_values', of_first ~ 'SIGN(b.' ~ known ~ ') * LN(ABS(b.' ~ known ~ ') + SQRT(b.' ~ known ~ ' * b.' ~ known ~ ' + 1)) AS y, ' ~ d.float('1') ~ ' AS x ' ~ first ~ ' AND b.' ~ known ~ ' IS NOT NULL) t', 'pass, phase, arm', quote(covariate.name)) }}
{%- set gap = "metric || ' by ' || " ~ quote(covariate.name) %}
{%- set unknown = 'v' ~ (i + 2 + covariates | length) ~ ' > 0' %}
{{ or_all }}{{ row('covariate_with_row', 'FROM vectors WHERE outcomes > 0 GROUP BY pass, metric', gap, 'pass', n='COUNT(*)') }}
{{ or_all }}{{ row('covariate_unknown_with_row', 'FROM vectors WHERE outcomes > 0 AND ' ~ unknown ~ ' GROUP BY pass, metric', gap, 'pass', n='COUNT(*)') }}
{{ or_all }}{{ row('covariate_without_row', 'FROM vectors WHERE outcomes = 0 GROUP BY pass, metric', gap, 'pass', n='COUNT(*)') }}
{{ or_all }}{{ row('covariate_unknown_without_row', 'FROM vectors WHERE outcomes = 0 AND ' ~ unknown ~ ' GROUP BY pass, metric', gap, 'pass', n='COUNT(*)') }}
{%- endfor %}
-- The lower triangle of the products of y, x, the covariates, and whether each is unknown.
{%- for i in range(width) %}{% for j in range(i + 1) %}
{{ or_all }}{{ pairs('metric_with_covariates', 'FROM (SELECT metric, pass, phase, arm, v' ~ i ~ ' AS y, v' ~ j ~ ' AS x FROM vectors) v', 'metric, pass, phase, arm', 'metric', place=i * (i + 1) // 2 + j) }}
{%- endfor %}{% endfor %}
{%- for i in range((width - 1) * (width - 1)) %}
{{ or_all }}{{ row('crossing', 'FROM deviation_products', "metric || ' with covariates, " ~ i ~ "'", 'pass', 'phase', 'arm', place='other', s=['p' ~ i]) }}
{%- endfor %}
