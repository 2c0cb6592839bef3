COPY parley.interactions ({columns}) FROM STDIN (FORMAT binary)
