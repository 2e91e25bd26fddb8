// The error that an action ends with.
#pragma once

#include <headrace/error.hpp>

#include <gtest/gtest.h>

namespace headrace::test {

/// What it throws; a failure of the test when it throws nothing.
Error error_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorCode::internal, "nothing"};
}

}  // namespace headrace::test
