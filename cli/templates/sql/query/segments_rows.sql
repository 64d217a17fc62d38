-- By segment.
{%- for segment in segments %}
{{ or_all }}{{ row('segment', '', "'dimension'", place=loop.index0, n=1 if segment.place == 'outcomes' else 0, items=quote(segment.name)) }}
{%- endfor %}
{{ or_all }}{{ row('segment_value', 'FROM segment_sizes s JOIN dimensions i ON i.dimension = s.dimension WHERE s.segment < i.kept', dimension_of('s.dimension'), place='s.segment', items='SUBSTR(s.label, 1, 60)') }}
{{ or_all }}{{ row('segment_values', 'FROM dimensions', dimension_of('dimension'), n='labels') }}
{{ or_all }}{{ row('segment_later', 'FROM unit_segments GROUP BY dimension', dimension_of('dimension'), n='SUM(later)') }}
{{ or_all }}{{ row('segment_units', 'FROM unit_segments s JOIN told t ON t.unit = s.unit WHERE t.pass = 0 AND t.place = 1 GROUP BY s.dimension, s.segment, t.phase, t.arm', dimension_of('s.dimension'), phase='t.phase', arm='t.arm', place='s.segment', n='COUNT(*)') }}
{{ or_all }}{{ pairs('segment_metric', 'FROM values_by_segment', 'dimension, segment, metric, phase, arm', dimension_of('dimension') ~ " || '/' || metric", pass='0', place='segment') }}
{{ or_all }}{{ row('crossing', 'FROM (SELECT a.dimension AS dimension, a.segment AS segment, a.metric AS metric, a.phase AS phase, a.arm AS arm, b.phase * ' ~ variants | length ~ ' + b.arm AS other, a.residual * b.residual AS product FROM segment_residuals a JOIN segment_residuals b ON b.dimension = a.dimension AND b.metric = a.metric AND b.unit = a.unit AND b.phase > a.phase) p GROUP BY dimension, segment, metric, phase, arm, other', dimension_of('dimension') ~ " || '/' || metric || '/' || " ~ d.text('segment'), phase='phase', arm='arm', place='other', s=['SUM(product)']) }}
