
-- Segments: the value of each unit that was recorded first. The largest values are segments of their own, then come the
-- others, and the units without a value.
{{ d.step('segment_values') }}
{%- for segment in segments %}
  {% if not loop.first %}UNION ALL {% endif %}SELECT {{ segment.index }} AS dimension, unit, {% if segment.place == 'outcomes' and not outcomes.by_request %}COALESCE(ms, 0) AS ms{% else %}ms{% endif %}, g{{ segment.index }} AS label
  FROM {% if segment.place == 'exposures' %}counted{% elif outcomes.by_request %}labeled{% else %}known_rows{% endif %} WHERE unit IS NOT NULL AND g{{ segment.index }} IS NOT NULL{% if segment.place == 'outcomes' and outcomes.by_request %} AND pass = 0{% endif %}
{%- endfor %}
{{ d.end('segment_values') }}
{{ d.step('first_values') }}
  SELECT dimension, unit, ms, label
  FROM (SELECT v.*, ROW_NUMBER() OVER (PARTITION BY dimension, unit ORDER BY ms, {{ d.bytes('label') }}) AS turn FROM segment_values v) numbered
  WHERE turn = 1
{{ d.end('first_values') }}
{{ d.step('segment_sizes') }}
  SELECT dimension, label, units, {{ d.int('turn - 1') }} AS segment
  FROM (SELECT s.*, ROW_NUMBER() OVER (PARTITION BY dimension ORDER BY units DESC, {{ d.bytes('label') }}) AS turn
  FROM (SELECT dimension, label, COUNT(*) AS units FROM first_values GROUP BY dimension, label) s) numbered
{{ d.end('segment_sizes') }}
{{ d.step('dimensions') }}
  -- Another value than the {{ largest }} largest would be alone among the others.
  SELECT dimension, labels, CASE WHEN labels = {{ largest + 1 }} OR labels < {{ largest }} THEN labels ELSE {{ d.int(largest) }} END AS kept
  FROM (SELECT i.dimension AS dimension, {{ d.int('COALESCE(c.labels, 0)') }} AS labels
  FROM ({% for segment in segments %}{% if not loop.first %} UNION ALL {% endif %}SELECT {{ segment.index }} AS dimension{% endfor %}) i
    LEFT JOIN (SELECT dimension, COUNT(*) AS labels FROM segment_sizes GROUP BY dimension) c ON c.dimension = i.dimension) all_dimensions
{{ d.end('dimensions') }}
{{ d.step('unit_segments') }}
  SELECT i.dimension AS dimension, u.unit AS unit,
    {{ d.int('CASE WHEN v.label IS NULL THEN i.kept + 1 WHEN s.segment < i.kept THEN s.segment ELSE i.kept END') }} AS segment,
    CASE WHEN v.ms > u.begun_ms THEN 1 ELSE 0 END AS later
  FROM units u CROSS JOIN dimensions i
    LEFT JOIN first_values v ON v.dimension = i.dimension AND v.unit = u.unit
    LEFT JOIN segment_sizes s ON s.dimension = v.dimension AND s.label = v.label
  WHERE u.pass = 0
{{ d.end('unit_segments') }}
{{ d.step('values_by_segment') }}
  SELECT s.dimension AS dimension, s.segment AS segment, {{ of('v', ['metric', 'unit', 'phase', 'arm', 'cells_of_unit', 'y', 'x']) }}
  FROM unit_values v JOIN unit_segments s ON s.unit = v.unit
  WHERE v.pass = 0 AND v.metric IN ({{ listed(segmented_metrics) }})
{{ d.end('values_by_segment') }}
{{ d.step('segment_residuals') }}
  SELECT {{ of('v', ['dimension', 'segment', 'metric', 'unit', 'phase', 'arm']) }}, v.y - r.ratio * v.x AS residual
  FROM values_by_segment v JOIN (SELECT dimension, segment, metric, phase, arm, AVG(y) / NULLIF(AVG(x), 0) AS ratio FROM values_by_segment
      GROUP BY dimension, segment, metric, phase, arm HAVING COUNT(*) > 1 AND SUM(x) <> 0) r
    ON r.dimension = v.dimension AND r.segment = v.segment AND r.metric = v.metric AND r.phase = v.phase AND r.arm = v.arm
  WHERE v.cells_of_unit > 1
{{ d.end('segment_residuals') }}
