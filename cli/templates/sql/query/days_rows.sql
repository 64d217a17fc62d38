-- By day, and by days since the first request.
{{ or_all }}{{ row('days', 'FROM (SELECT DISTINCT metric, day FROM day_values) v GROUP BY metric', 'metric', items=d.list(d.text('day'))) }}
{{ or_all }}{{ pairs('day', 'FROM day_values', 'metric, phase, arm, day', 'metric', pass='0', place='day') }}
{{ or_all }}{{ row('day_sinces', 'FROM (SELECT DISTINCT metric, since FROM day_values WHERE since < ' ~ days_since ~ ') v GROUP BY metric', 'metric', items=d.list(d.text('since'))) }}
{{ or_all }}{{ pairs('day_since', 'FROM day_values WHERE since < ' ~ days_since, 'metric, phase, arm, since', 'metric', pass='0', place='since') }}
{{ or_all }}{{ row('day_product', 'FROM (SELECT a.metric AS metric, a.phase AS phase, a.arm AS arm, a.since * 32 + b.since AS days, a.residual * b.residual AS product FROM day_residuals a JOIN day_residuals b ON b.metric = a.metric AND b.unit = a.unit AND b.since > a.since) p GROUP BY metric, phase, arm, days', 'metric', phase='phase', arm='arm', place='days', s=['SUM(product)']) }}
