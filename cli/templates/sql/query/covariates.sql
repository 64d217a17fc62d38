
-- Covariates: the one value of each unit from before its first request. A unit without one has the mean of the others.
{{ d.step('values_before') }}
  SELECT u.pass AS pass, u.unit AS unit, CASE WHEN r.ms > u.begun_ms THEN 1 ELSE 0 END AS is_late
    {%- for covariate in covariates %}, r.c{{ covariate.column }} AS c{{ loop.index0 }}{% endfor %}
  FROM known_rows r JOIN units u ON u.unit = r.unit
{{ d.end('values_before') }}
{{ d.step('covariates_of_units') }}
  SELECT pass, unit{% for covariate in covariates %}, COUNT(c{{ loop.index0 }}) AS rows{{ loop.index0 }}, COUNT(CASE WHEN is_late = 1 THEN c{{ loop.index0 }} END) AS late{{ loop.index0 }},
    MIN(CASE WHEN is_late = 0 THEN c{{ loop.index0 }} END) AS least{{ loop.index0 }}, MAX(CASE WHEN is_late = 0 THEN c{{ loop.index0 }} END) AS most{{ loop.index0 }}{% endfor %}
  FROM values_before GROUP BY pass, unit
{{ d.end('covariates_of_units') }}
{{ d.step('units_before') }}
  SELECT u.pass AS pass, u.unit AS unit{% for covariate in covariates %}, CASE WHEN v.least{{ loop.index0 }} = v.most{{ loop.index0 }} THEN v.least{{ loop.index0 }} END AS known{{ loop.index0 }}{% endfor %}
  FROM units u LEFT JOIN covariates_of_units v ON v.pass = u.pass AND v.unit = u.unit
{{ d.end('units_before') }}
{{ d.step('vectors') }}
  -- Of each unit in a phase: y, x, the covariates, and whether each is unknown.
  SELECT {{ of('v', ['metric', 'pass', 'unit', 'phase', 'arm', 'cells_of_unit', 'outcomes']) }}, v.y AS v0, v.x AS v1
    {%- for covariate in covariates %}, COALESCE(b.known{{ loop.index0 }}, f.fill{{ loop.index0 }}, 0) AS v{{ loop.index0 + 2 }}{% endfor %}
    {%- for covariate in covariates %}, {{ d.float('CASE WHEN b.known' ~ loop.index0 ~ ' IS NULL THEN 1 ELSE 0 END') }} AS v{{ loop.index0 + 2 + covariates | length }}{% endfor %}
  FROM unit_values v JOIN units_before b ON b.pass = v.pass AND b.unit = v.unit
    JOIN (SELECT pass{% for covariate in covariates %}, AVG(known{{ loop.index0 }}) AS fill{{ loop.index0 }}{% endfor %} FROM units_before GROUP BY pass) f ON f.pass = v.pass
  WHERE v.metric IN ({{ listed(adjusted_metrics) }})
{{ d.end('vectors') }}
{{ d.step('deviations') }}
  -- Of units in several phases: how far they are from the means there.
  SELECT {{ of('v', ['metric', 'pass', 'unit', 'phase', 'arm']) }}, v.v0 - r.ratio * v.v1 AS e0
    {%- for i in range(2, width) %}, v.v{{ i }} - m.mean{{ i }} AS e{{ i - 1 }}{% endfor %}
  FROM vectors v JOIN ratios r ON r.metric = v.metric AND r.pass = v.pass AND r.phase = v.phase AND r.arm = v.arm
    JOIN (SELECT metric, pass, phase, arm{% for i in range(2, width) %}, AVG(v{{ i }}) AS mean{{ i }}{% endfor %} FROM vectors GROUP BY metric, pass, phase, arm) m
      ON m.metric = v.metric AND m.pass = v.pass AND m.phase = v.phase AND m.arm = v.arm
  WHERE v.cells_of_unit > 1
{{ d.end('deviations') }}
{{ d.step('deviation_products') }}
  SELECT a.metric AS metric, a.pass AS pass, a.phase AS phase, a.arm AS arm, b.phase * {{ variants | length }} + b.arm AS other
    {%- for i in range(width - 1) %}{% for j in range(width - 1) %}, SUM(a.e{{ i }} * b.e{{ j }}) AS p{{ i * (width - 1) + j }}{% endfor %}{% endfor %}
  FROM deviations a JOIN deviations b ON b.metric = a.metric AND b.pass = a.pass AND b.unit = a.unit AND b.phase > a.phase
  GROUP BY a.metric, a.pass, a.phase, a.arm, b.phase, b.arm
{{ d.end('deviation_products') }}
