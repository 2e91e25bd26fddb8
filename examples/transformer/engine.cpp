#include "engine.hpp"

#include "kernels.hpp"

namespace {

constexpr cl_uint kEight = 8;  // numbers that the larger kernels take at a time

// A buffer's handle is its cl_mem, which stays Headrace's: this is one more reference.
cl::Buffer memory_of(const headrace::Buffer& buffer) {
  return cl::Buffer(reinterpret_cast<cl_mem>(buffer.handle()), true);
}

}  // namespace

Engine::Engine(headrace::Device& device)
    : context_(memory_of(device.allocate(64)).getInfo<CL_MEM_CONTEXT>()), queue_(context_) {
  const cl::Program program(context_, kKernels, true);
  embed_ = cl::Kernel(program, "embed");
  linear_ = cl::Kernel(program, "linear");
  attend_ = cl::Kernel(program, "attend");
  add_ = cl::Kernel(program, "add");
  norm_ = cl::Kernel(program, "norm");
  gelu_ = cl::Kernel(program, "gelu");
}

Matrix Engine::embed(std::span<const cl_uint> tokens, const Weight& words, const Weight& positions,
                     const Weight& kinds) {
  const Matrix x = make(static_cast<cl_uint>(tokens.size()), static_cast<cl_uint>(words.shape[1]));
  const cl::Buffer numbers(context_, CL_MEM_READ_ONLY, tokens.size_bytes());
  queue_.enqueueWriteBuffer(numbers, CL_TRUE, 0, tokens.size_bytes(), tokens.data());
  run(embed_, {x.columns, x.rows}, numbers, words, positions, kinds, x);
  return x;
}

Matrix Engine::linear(const Matrix& x, const Weight& weight, const Weight& bias) {
  const Matrix y = make(x.rows, static_cast<cl_uint>(weight.shape[0]));
  run(linear_, {y.columns, y.rows}, x, weight, bias, y, x.columns / kEight);
  return y;
}

Matrix Engine::attend(const Matrix& q, const Matrix& k, const Matrix& v, cl_uint heads) {
  const Matrix shares = make(heads * q.rows, q.rows), y = make(q.rows, q.columns);
  run(attend_, {heads, q.rows}, q, k, v, shares, y, q.columns / heads / kEight);
  return y;
}

void Engine::add(const Matrix& x, const Matrix& y) { run(add_, {x.rows * x.columns}, x, y); }

void Engine::norm(const Matrix& x, const Weight& weight, const Weight& bias) {
  run(norm_, {x.rows}, x, weight, bias, x.columns);
}

void Engine::gelu(const Matrix& x) { run(gelu_, {x.rows * x.columns}, x); }

std::vector<float> Engine::read(const Matrix& x) {
  std::vector<float> numbers(x.rows * x.columns);
  queue_.enqueueReadBuffer(x.memory, CL_TRUE, 0, numbers.size() * sizeof(float), numbers.data());
  return numbers;
}

Matrix Engine::make(cl_uint rows, cl_uint columns) const {
  return {cl::Buffer(context_, CL_MEM_READ_WRITE, sizeof(float) * rows * columns), rows, columns};
}

template <class... Arguments>
void Engine::run(cl::Kernel& kernel, const cl::NDRange& items, const Arguments&... arguments) {
  struct {
    const cl::Buffer& operator()(const cl::Buffer& buffer) const { return buffer; }
    const cl::Buffer& operator()(const Matrix& x) const { return x.memory; }
    cl::Buffer operator()(const Weight& weight) const { return memory_of(weight.buffer); }
    cl_uint operator()(cl_uint number) const { return number; }
  } as_argument;
  cl_uint at = 0;
  (kernel.setArg(at++, as_argument(arguments)), ...);
  queue_.enqueueNDRangeKernel(kernel, cl::NullRange, items);
}
