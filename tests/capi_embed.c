/* sparsenet.h as a C99 program sees it. Also the golden file of format version 1: every later library must read it. */
#include <sparsenet.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;
#define CHECK(condition) \
  ((condition) ? (void)0 : (void)(++failures, fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition)))

/* y = relu(x w^T + b), w = [1 0 -2; 0 0.5 0] (a bitmap), b = [0.25 -1] */
static const char kHeader[] =
    "{\"__metadata__\":{\"format\":\"sparsenet\",\"version\":\"1\",\"sha256\":"
    "\"8f918f49ea752f8a0f8d38f8b50bec34b9d7b20efee2c185dab126ecf9205c9d\",\"graph\":\"{\\\"fixed_batch\\\":0,"
    "\\\"inputs\\\":[{\\\"name\\\":\\\"x\\\",\\\"shape\\\":[-1,3]}],\\\"constants\\\":[{\\\"name\\\":\\\"w\\\","
    "\\\"shape\\\":[2,3],\\\"encoding\\\":\\\"bitmap\\\"},{\\\"name\\\":\\\"b\\\",\\\"shape\\\":[2],\\\"encoding\\\":"
    "\\\"dense\\\"}],\\\"nodes\\\":[{\\\"op\\\":\\\"Linear\\\",\\\"name\\\":\\\"y\\\",\\\"output\\\":\\\"y\\\","
    "\\\"inputs\\\":[\\\"x\\\",\\\"w\\\",\\\"b\\\"],\\\"attrs\\\":{\\\"act\\\":\\\"relu\\\",\\\"act_a\\\":0.0,"
    "\\\"act_b\\\":0.0}}],\\\"outputs\\\":[\\\"y\\\"]}\"},\"w#values\":{\"dtype\":\"F32\",\"shape\":[3],"
    "\"data_offsets\":[0,12]},\"#pad1\":{\"dtype\":\"U8\",\"shape\":[52],\"data_offsets\":[12,64]},\"w#bitmap\":"
    "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[64,65]},\"#pad3\":{\"dtype\":\"U8\",\"shape\":[63],"
    "\"data_offsets\":[65,128]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[128,136]}}";
enum { kHeaderBytes = 824, kFileBytes = 8 + kHeaderBytes + 136 };

static void make_file(unsigned char* file) {
  const float values[] = {1, -2, 0.5f}, bias[] = {0.25f, -1};
  unsigned char* data = file + 8 + kHeaderBytes;
  memset(file, 0, kFileBytes);
  file[0] = kHeaderBytes & 255;
  file[1] = kHeaderBytes >> 8;
  memset(file + 8, ' ', kHeaderBytes);
  memcpy(file + 8, kHeader, sizeof kHeader - 1);
  memcpy(data, values, sizeof values);
  data[64] = 1 << 0 | 1 << 2 | 1 << 4; /* elements 0, 2 and 4 are stored */
  memcpy(data + 128, bias, sizeof bias);
}

static void runs(const sn_engine* e) {
  const float x[] = {1, 2, 3, -1, 6, -4};
  const float want[] = {0, 0, 7.25f, 2};
  float y[4] = {9, 9, 9, 9};
  const float* in[] = {x};
  float* out[] = {y};
  CHECK(sn_run(e, 2, in, out) == SN_OK);
  CHECK(memcmp(y, want, sizeof y) == 0);
}

static void describes(const sn_engine* e) {
  CHECK(sn_input_count(e) == 1 && sn_output_count(e) == 1);
  CHECK(strcmp(sn_input_name(e, 0), "x") == 0 && strcmp(sn_output_name(e, 0), "y") == 0);
  CHECK(sn_input_rank(e, 0) == 2 && sn_input_dims(e, 0)[0] == -1 && sn_input_dims(e, 0)[1] == 3);
  CHECK(sn_output_rank(e, 0) == 2 && sn_output_dims(e, 0)[0] == -1 && sn_output_dims(e, 0)[1] == 2);
  CHECK(sn_input_size(e, 0) == 3 && sn_output_size(e, 0) == 2);
  CHECK(strlen(sn_isa(e)) > 0 && strlen(sn_version()) >= 5);
}

static void refuses(const sn_engine* e, const unsigned char* file) {
  const float x[3] = {0};
  float y[2];
  const float *in[] = {x}, *no_in[] = {NULL};
  float *out[] = {y}, *no_out[] = {NULL};
  sn_engine* other = (sn_engine*)&other;
  sn_options options = SN_OPTIONS_INIT;
  unsigned char bad[kFileBytes];

  CHECK(sn_input_count(NULL) == 0 && strstr(sn_last_error(), "engine is NULL"));
  CHECK(sn_output_count(NULL) == 0 && !sn_isa(NULL));
  CHECK(!sn_input_name(e, 1) && strstr(sn_last_error(), "input 1"));
  CHECK(!sn_output_dims(e, -1) && sn_output_rank(e, 7) == 0 && sn_input_size(e, -2) == 0);
  CHECK(sn_run(NULL, 1, in, out) == SN_INVALID_ARGUMENT);
  CHECK(sn_run(e, 1, NULL, out) == SN_INVALID_ARGUMENT);
  CHECK(sn_run(e, 1, in, NULL) == SN_INVALID_ARGUMENT);
  CHECK(sn_run(e, 1, no_in, out) == SN_INVALID_ARGUMENT && strstr(sn_last_error(), "in[0] ('x')"));
  CHECK(sn_run(e, 1, in, no_out) == SN_INVALID_ARGUMENT && strstr(sn_last_error(), "out[0] ('y')"));
  CHECK(sn_run(e, 0, in, out) == SN_INVALID_ARGUMENT);
  CHECK(sn_run(e, -1, in, out) == SN_INVALID_ARGUMENT);
  CHECK(sn_reserve(e, -1) == SN_INVALID_ARGUMENT && sn_reserve(NULL, 1) == SN_INVALID_ARGUMENT);
  CHECK(sn_reserve(e, 8) == SN_OK);
  CHECK(sn_reserve(e, INT64_MAX) != SN_OK);

  CHECK(sn_load_path(NULL, NULL, &other) == SN_INVALID_ARGUMENT && other == NULL);
  CHECK(sn_load_path("/no/such/file", NULL, &other) == SN_IO && strstr(sn_last_error(), "/no/such/file"));
  CHECK(sn_load_memory(NULL, 0, NULL, &other) == SN_INVALID_ARGUMENT);
  CHECK(sn_load_memory(file, kFileBytes, NULL, NULL) == SN_INVALID_ARGUMENT);
  CHECK(sn_load_memory(file, kFileBytes - 1, NULL, &other) == SN_FILE_FORMAT && other == NULL);
  memcpy(bad, file, sizeof bad);
  bad[kFileBytes - 1] ^= 1;
  CHECK(sn_load_memory(bad, sizeof bad, NULL, &other) == SN_FILE_FORMAT && strstr(sn_last_error(), "digest"));

  options.size = 3;
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_INVALID_ARGUMENT);
  options.size = sizeof options;
  options.threads = 0;
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_INVALID_ARGUMENT);
  options.threads = 1;
  options.isa = "z80";
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_INVALID_ARGUMENT && strstr(sn_last_error(), "z80"));
  options.isa = NULL;
  options.max_batch = 0;
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_INVALID_ARGUMENT);
  options.max_batch = 1;
  options.max_elements = 5;
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_FILE_FORMAT && strstr(sn_last_error(), "limit of 5"));
  options.max_elements = -1;
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_INVALID_ARGUMENT);
  options.max_elements = 0;
  options.max_file_bytes = 100;
  CHECK(sn_load_memory(file, kFileBytes, &options, &other) == SN_FILE_FORMAT);

  CHECK(strcmp(sn_status_name(SN_FILE_FORMAT), "SN_FILE_FORMAT") == 0);
  CHECK(strcmp(sn_status_name((sn_status)99), "unknown status") == 0);
  sn_free(NULL);
}

static void later_caller(const unsigned char* file) {
  /* A caller built against a later header, with members that this library does not know. */
  struct {
    sn_options now;
    char more[64];
  } later = {SN_OPTIONS_INIT, "unknown"};
  sn_engine* e = NULL;
  later.now.size = sizeof later;
  later.now.isa = "scalar";
  CHECK(sn_load_memory(file, kFileBytes, &later.now, &e) == SN_OK);
  CHECK(strcmp(sn_isa(e), "scalar") == 0);
  runs(e);
  sn_free(e);
}

int main(void) {
  static unsigned char file[kFileBytes];
  sn_options quick = SN_OPTIONS_INIT;
  sn_engine* e = NULL;
  int i;

  make_file(file);
  CHECK(strcmp(sn_last_error(), "") == 0);
  if (sn_load_memory(file, kFileBytes, NULL, &e) != SN_OK) {
    fprintf(stderr, "%s\n", sn_last_error());
    return 1;
  }
  describes(e);
  runs(e);
  refuses(e, file);
  runs(e);
  sn_free(e);
  later_caller(file);

  quick.tune = 0;
  for (i = 0; i < 10000; ++i) {
    CHECK(sn_load_memory(file, kFileBytes, &quick, &e) == SN_OK);
    if (i % 1000 == 0) runs(e);
    sn_free(e);
  }
  printf("%d failures\n", failures);
  return failures != 0;
}
