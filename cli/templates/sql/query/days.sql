
-- What each unit did on each day of its first phase, where it is compared as it was assigned there.
{{ d.step('days_of_units') }}
  SELECT r.unit AS unit, t.phase AS phase, t.arm AS arm, t.is_open AS is_open, {{ d.div('r.ms', 86400000) }} AS day,
    {{ d.div('r.ms', 86400000) }} - {{ d.div('t.first_ms', 86400000) }} AS since,
    COUNT(*) AS requests, SUM(r.failed) AS failed, SUM(r.aborted) AS aborted, SUM(1 - r.aborted) AS answered,
    SUM(CASE WHEN r.aborted = 0 THEN r.duration ELSE 0 END) AS latency
{%- if outcomes and outcomes.by_request %}{% for column in columns %},
    COALESCE(SUM(l.c{{ loop.index0 }}), 0) AS sum{{ loop.index0 }}, COUNT(l.c{{ loop.index0 }}) AS count{{ loop.index0 }}{% endfor %}{% endif %}
  FROM passes r JOIN told t ON t.pass = r.pass AND t.unit = r.unit AND t.phase = r.phase
{%- if outcomes and outcomes.by_request %} LEFT JOIN labels l ON l.request_id = r.request_id{% endif %}
  WHERE r.pass = 0 AND t.place = 1
  GROUP BY r.unit, t.phase, t.arm, t.is_open, {{ d.div('r.ms', 86400000) }}, {{ d.div('r.ms', 86400000) }} - {{ d.div('t.first_ms', 86400000) }}
{{ d.end('days_of_units') }}
{{ d.step('day_values') }}
{%- for metric in day_metrics %}
  {% if not loop.first %}UNION ALL {% endif %}SELECT {{ quote(metric.name) }} AS metric, unit, phase, arm, day, since,
    {{ d.float(metric.y) }} AS y, {{ d.float(metric.x) }} AS x
  FROM days_of_units WHERE {{ metric.holds }}
{%- for measure in measures if not measure.always and measure.name == metric.name %} AND 0 IN (SELECT pass FROM passes GROUP BY pass HAVING SUM(aborted) > 0){% endfor %}
{%- endfor %}
{{ d.end('day_values') }}
-- Units come again, so the days since their first request are not independent.
{{ d.step('day_ratios') }}
  SELECT metric, phase, arm, since, AVG(y) / NULLIF(AVG(x), 0) AS ratio FROM day_values WHERE since < {{ days_since }}
  GROUP BY metric, phase, arm, since HAVING COUNT(*) > 1 AND SUM(x) <> 0
{{ d.end('day_ratios') }}
{{ d.step('day_residuals') }}
  SELECT {{ of('v', ['metric', 'unit', 'phase', 'arm', 'since']) }}, v.y - r.ratio * v.x AS residual
  FROM day_values v JOIN day_ratios r ON r.metric = v.metric AND r.phase = v.phase AND r.arm = v.arm AND r.since = v.since
{{ d.end('day_residuals') }}
