package regime

var shiftCurves = [...]curve{Requests: {{1, 1000}, {2, 2000}, {3, 4000}}, Ticks: {{1, 1000}, {2, 2000}, {3, 4000}}}

var rateCurves = [...]rateCurve{{.002, curve{{1, 1000}, {2, 2000}, {3, 4000}}}}
