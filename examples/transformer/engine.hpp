// Engine: a transformer's arithmetic on an OpenCL device, with weights that are used where Headrace has put them.
//
// Everything is queued, and runs in the order of the calls. A weight must stay until finish() or read() has returned.
// Thread-safety: one thread at a time.
#pragma once

#include <headrace/headrace.hpp>

#include <CL/opencl.hpp>
#include <span>
#include <vector>

/// Numbers on the device, row-major; a row per token. Copies are the same numbers.
struct Matrix {
  cl::Buffer memory;
  cl_uint rows = 0, columns = 0;
};

class Engine {
 public:
  using Weight = headrace::LoadedTensor;  ///< F32, on the device

  /// In the context that the device's buffers are of. Throws cl::Error, as all members do.
  explicit Engine(headrace::Device& device);

  Matrix embed(std::span<const cl_uint> tokens, const Weight& words, const Weight& positions, const Weight& kinds);
  /// The columns of `x` are a multiple of 8.
  Matrix linear(const Matrix& x, const Weight& weight, const Weight& bias);
  /// A head has a multiple of 8 columns.
  Matrix attend(const Matrix& q, const Matrix& k, const Matrix& v, cl_uint heads);
  // These change x.
  void add(const Matrix& x, const Matrix& y);
  void norm(const Matrix& x, const Weight& weight, const Weight& bias);
  void gelu(const Matrix& x);

  void finish() { queue_.finish(); }
  std::vector<float> read(const Matrix& x);

 private:
  Matrix make(cl_uint rows, cl_uint columns) const;
  template <class... Arguments>
  void run(cl::Kernel& kernel, const cl::NDRange& items, const Arguments&... arguments);

  cl::Context context_;
  cl::CommandQueue queue_;
  cl::Kernel embed_, linear_, attend_, add_, norm_, gelu_;
};
