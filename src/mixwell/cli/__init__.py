"""The command line: `mixwell fit "y ~ x + (1 | g)" data.csv`.

main.py      commands and their options, exit codes
reading.py   files -> tables
results.py   fits -> JSON
"""
