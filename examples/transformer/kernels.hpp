// The kernels, in OpenCL C. A work-item makes its numbers alone and adds in a fixed order: the same input gives the
// same bits, however a device shares out the work.
#pragma once

inline constexpr char kKernels[] = R"cl(
float sum_of(float8 v) {
  const float4 four = v.lo + v.hi;
  const float2 two = four.lo + four.hi;
  return two.x + two.y;
}

float dot_of(global const float8* a, global const float8* b, uint count) {
  float8 sums = 0;
  for (uint i = 0; i < count; ++i) sums += a[i] * b[i];
  return sum_of(sums);
}

// A number of a token: what its letter, its position and the kind of its sequence say.
kernel void embed(global const uint* tokens, global const float* words, global const float* positions,
                  global const float* kinds, global float* x) {
  const size_t column = get_global_id(0), row = get_global_id(1), width = get_global_size(0);
  x[row * width + column] = words[tokens[row] * width + column] + positions[row * width + column] + kinds[column];
}

// y = x · weightᵀ + bias: a number. A row of x is `inner` eights.
kernel void linear(global const float8* x, global const float8* weight, global const float* bias, global float* y,
                   uint inner) {
  const size_t column = get_global_id(0), row = get_global_id(1), columns = get_global_size(0);
  y[row * columns + column] = dot_of(x + row * inner, weight + column * inner, inner) + bias[column];
}

kernel void add(global float* x, global const float* y) { x[get_global_id(0)] += y[get_global_id(0)]; }

kernel void gelu(global float* x) {
  const size_t i = get_global_id(0);
  x[i] *= 0.5f * (1.0f + erf(x[i] * M_SQRT1_2_F));
}

// A row becomes one of mean 0 and variance 1, scaled and moved.
kernel void norm(global float* x, global const float* weight, global const float* bias, uint width) {
  global float* row = x + get_global_id(0) * width;
  float mean = 0, variance = 0;
  for (uint i = 0; i < width; ++i) mean += row[i];
  mean /= width;
  for (uint i = 0; i < width; ++i) variance += (row[i] - mean) * (row[i] - mean);
  const float scale = 1.0f / sqrt(variance / width + 1e-12f);
  for (uint i = 0; i < width; ++i) row[i] = (row[i] - mean) * scale * weight[i] + bias[i];
}

// What a token sees of all others, with one head of `size` eights. `shares` has room for a number per head and pair.
kernel void attend(global const float8* q, global const float8* k, global const float8* v, global float* shares,
                   global float8* y, uint size) {
  const size_t head = get_global_id(0), token = get_global_id(1), tokens = get_global_size(1);
  const size_t width = get_global_size(0) * size, at = head * size;
  global float* share = shares + (head * tokens + token) * tokens;
  float most = -INFINITY, total = 0;
  for (size_t i = 0; i < tokens; ++i) {
    share[i] = dot_of(q + token * width + at, k + i * width + at, size) / sqrt(8.0f * size);
    most = fmax(most, share[i]);
  }
  for (size_t i = 0; i < tokens; ++i) {
    share[i] = exp(share[i] - most);
    total += share[i];
  }
  for (uint j = 0; j < size; ++j) {
    float8 seen = 0;
    for (size_t i = 0; i < tokens; ++i) seen += share[i] * v[i * width + at + j];
    y[token * width + at + j] = seen / total;
  }
}
)cl";
