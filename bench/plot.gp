# Create latency against keys on the token and rows in the store.  bench/run.py sets keys, rows and image.
set terminal svg size 900,360 background rgb 'white' font 'sans-serif,11'
set output image
set multiplot layout 1,2
set grid
set key right bottom
set yrange [0:*]
set ylabel 'create, one caller (ms)'
set style line 1 lc rgb '#1f77b4' lw 2 pt 7 ps 0.6
set style line 2 lc rgb '#d62728' lw 2 pt 5 ps 0.6

set title 'p256v1 on SoftHSM, no pool'
set xlabel 'key pairs on the token'
set format x '%.0f'
plot keys using 1:2 with linespoints ls 1 title 'p50', \
     keys using 1:3 with linespoints ls 2 title 'p99'

set title 'HTTP and store only (fake signer)'
set xlabel 'rows in the store'
set logscale x 10
set format x '10^{%L}'
plot rows using 1:2 with linespoints ls 1 title 'p50', \
     rows using 1:3 with linespoints ls 2 title 'p99'
unset multiplot
