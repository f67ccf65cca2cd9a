/* Something for a compiler to do: enough functions, loops and tables that it allocates a lot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP(n)                                                             \
    static long step_##n(long *table, int count) {                          \
        long sum = n;                                                       \
        for (int i = 0; i < count; i++) {                                   \
            for (int j = i; j < count; j += n + 1) sum += table[j] * (i ^ n); \
            switch ((sum >> n) & 7) {                                       \
                case 0: sum ^= table[i]; break;                             \
                case 1: sum += sum << 3; break;                             \
                case 2: sum -= n; break;                                    \
                default: sum *= 31;                                         \
            }                                                               \
        }                                                                   \
        return sum;                                                         \
    }
#define STEPS(n) STEP(n##0) STEP(n##1) STEP(n##2) STEP(n##3) STEP(n##4) STEP(n##5)
STEPS(1) STEPS(2) STEPS(3) STEPS(4) STEPS(5)

int main(int count, char **words) {
    long table[64];
    for (int i = 0; i < 64; i++) table[i] = i * count;
    long sum = step_10(table, 64) + step_21(table, 64) + step_32(table, 64);
    sum += step_43(table, 64) + step_54(table, 64) + step_55(table, 64);
    printf("%ld %s\n", sum, words[0]);
    return 0;
}
