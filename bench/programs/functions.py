"""Prints a C file of so many functions, for compilers to chew on: functions.py COUNT [SEED]."""

import sys

count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
print("struct item { int kind; long weight; struct item *next; };")
for number in range(count):
    mixed = (number * 2654435761 + seed * 40503) % 2**32
    print(f"""
long f{number}(struct item *first, long limit) {{
    long sum = {mixed % 977};
    for (struct item *item = first; item; item = item->next) {{
        switch (item->kind % {mixed % 7 + 3}) {{
        case 0: sum += item->weight * {mixed % 89}; break;
        case 1: sum ^= item->weight << {mixed % 13}; break;
        case 2: if (sum > limit) return sum - {number}; break;
        default: sum -= item->kind {'>>' if mixed & 1 else '*'} {mixed % 5 + 1};
        }}
    }}
    return sum{f' + f{mixed % number}(first, limit / 2)' if number else ''};
}}""")
