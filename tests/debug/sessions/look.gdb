# what `source` reads
until 20
info blocked
