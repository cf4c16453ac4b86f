/* Loads a .snet file, runs it on one input, prints the best class.
 *
 *     cc embed.c -lsparsenet -o embed && ./embed model.snet [input.f32]
 *
 * input.f32 holds the first input's numbers, raw float32 in row-major order; zeros without it. */
#include <sparsenet.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, sn_last_error());
  return 1;
}

int main(int argc, char** argv) {
  sn_engine* engine;
  float *x, *y;
  const float* in[1];
  float* out[1];
  int64_t n, m, i, best = 0;

  if (argc < 2) {
    fprintf(stderr, "usage: %s model.snet [input.f32]\n", argv[0]);
    return 2;
  }
  if (sn_load_path(argv[1], NULL, &engine) != SN_OK) return failed(argv[1]);
  if (sn_input_count(engine) != 1 || sn_output_count(engine) != 1) {
    fprintf(stderr, "%s: expected one input and one output\n", argv[1]);
    return 1;
  }
  n = sn_input_size(engine, 0);
  m = sn_output_size(engine, 0);
  x = calloc((size_t)n, sizeof *x);
  y = calloc((size_t)m, sizeof *y);
  if (!x || !y) return 1;
  if (argc > 2) {
    FILE* file = fopen(argv[2], "rb");
    if (!file || fread(x, sizeof *x, (size_t)n, file) != (size_t)n) {
      fprintf(stderr, "%s: expected %lld floats\n", argv[2], (long long)n);
      return 1;
    }
    fclose(file);
  }
  in[0] = x;
  out[0] = y;
  if (sn_run(engine, 1, in, out) != SN_OK) return failed("run");
  for (i = 1; i < m; ++i)
    if (y[i] > y[best]) best = i;
  printf("class %lld, score %g\n", (long long)best, y[best]);
  sn_free(engine);
  free(x);
  free(y);
  return 0;
}
