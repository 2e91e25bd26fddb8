#include "interrupts.hpp"

#include "bindings.hpp"

#include <headrace/error.hpp>

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace headrace::python {
namespace {

std::atomic<bool> ending = false;  // the interpreter: from the first of its last words on
std::atomic<int> returning = 0;    // threads that have the GIL, or have seen that it isn't and are about to take it
std::thread::id ending_thread;

// True once taking the GIL would end the thread, and, where its stack has a frame that can't be left so, the process.
bool is_over() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

bool is_for_others() noexcept { return ending && std::this_thread::get_id() != ending_thread; }

// Called by the thread that ends the interpreter, while others can still have the GIL. Whoever has it is in the midst
// of a program's own function, and would end the process on coming back too late: it's waited for as Python waits for
// threads, and Ctrl-C ends the wait.
void end() {
  using std::chrono::milliseconds;
  ending_thread = std::this_thread::get_id();
  ending = true;
  while (returning > 0) {
    check_signals();
    PyThreadState* const state = PyEval_SaveThread();
    for (int waited = 0; returning > 0 && waited < 20; ++waited) std::this_thread::sleep_for(milliseconds(1));
    PyEval_RestoreThread(state);
  }
}

// Between the first of the interpreter's last words and its end, the program's own may still want this thread's work.
void wait_or_park() noexcept {
  using std::chrono::milliseconds;
  ++returning;
  if (!is_for_others()) return;
  --returning;
  for (int waited = 0; waited < 100 || is_over(); ++waited) std::this_thread::sleep_for(milliseconds(1));
  ++returning;
}

void refuse() { throw Error(ErrorCode::cancelled, "the program is ending"); }

}  // namespace

GilReleased::~GilReleased() {
  wait_or_park();
  PyEval_RestoreThread(state_);
  --returning;
}

GilAgain::GilAgain() noexcept {
  wait_or_park();
  state_ = PyGILState_Ensure();
}

GilAgain::~GilAgain() {
  PyGILState_Release(state_);
  --returning;
}

// The thread that ends the interpreter may take the GIL until the last of Python's objects has gone.
GilOnWorker::GilOnWorker() {
  ++returning;
  if (is_for_others() || !nb::is_alive()) {
    --returning;
    refuse();
  }
  state_ = PyGILState_Ensure();
}

GilOnWorker::~GilOnWorker() {
  PyGILState_Release(state_);
  --returning;
}

void GilOnWorker::check() const {
  if (is_for_others()) refuse();
}

void bind_interrupts(nb::module_& module) {
  ::pthread_atfork(nullptr, nullptr, [] { returning = 0; });  // a forked child has none of these threads
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&end));
  nb::class_<CancelToken>(module, "CancelToken", "A flag that ends the jobs it was given to; any thread may set it.")
      .def(nb::init<>())
      .def("cancel", &CancelToken::cancel, "Every job that holds this token ends with CancelledError soon after.")
      .def_prop_ro("cancelled", &CancelToken::cancelled);
  nb::class_<Progress>(module, "Progress", "How far a job has come; bytes are those of the source's tensors.")
      .def_ro("bytes_done", &Progress::bytes_done)
      .def_ro("bytes_total", &Progress::bytes_total)
      .def_ro("tensors_done", &Progress::tensors_done)
      .def_ro("tensors_total", &Progress::tensors_total)
      .def_ro("flushing", &Progress::flushing, "Every byte is written; the system brings the file to the disk.");
}

}  // namespace headrace::python
