/* A tool that stays and is asked line by line: cycles of a GEMM "m n k" on a 16 x 16 array.
 *
 * An answer is a line that begins with "= ", a refusal one with "! " and why. Whatever else is printed is kept as the
 * tool's last words. Standard output must be flushed: it is a pipe. The end of standard input is the end.
 */
#include <stdio.h>

#define SIZE 16

static long long folds(long long length) { return (length + SIZE - 1) / SIZE; }

int main(void) {
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    long long m, n, k;
    if (sscanf(line, "%lld %lld %lld", &m, &n, &k) != 3) {
      printf("! not three numbers: %s", line); /* its line's end is in it */
    } else if (m <= 0 || n <= 0 || k <= 0) {
      printf("! a GEMM of %lld x %lld x %lld\n", m, n, k);
    } else {
      printf("a word of mine: %lld folds\n", folds(m) * folds(n));
      printf("= %lld\n", folds(m) * folds(n) * (k + 2 * SIZE - 2));
    }
    fflush(stdout);
  }
  return 0;
}
