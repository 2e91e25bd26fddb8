#include "io/location.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace headrace::io {
namespace {

// A variable for as long as a test; null: without it.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Variable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

ErrorCode code_of(const std::string& text) {
  try {
    const Location location(text);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(Location, IsAPathUnlessItSaysOtherwise) {
  for (const char* text : {"model.safetensors", "/a/b.gguf", "../x", "a:b", "https:/x", "hf:/x", "./-"}) {
    const Location location(text);
    EXPECT_EQ(location.place(), Place::path) << text;
    EXPECT_EQ(location.path(), text);
    EXPECT_EQ(location.text(), text);
  }
  EXPECT_EQ(Location("-").place(), Place::standard_input);
  EXPECT_EQ(Location("/a/model.safetensors").leaf(), "model.safetensors");
  EXPECT_EQ(Location("/a/model.safetensors").beside("sub/x.bin").path(), "/a/sub/x.bin");
  EXPECT_EQ(Location("model.safetensors").beside("x.bin").path(), "x.bin");
}

TEST(Location, KnowsItsSchemes) {
  for (const char* text : {"ftp://host/x", "s3://bucket/x", "file:///x"})
    EXPECT_EQ(code_of(text), ErrorCode::invalid_argument);
  EXPECT_EQ(Location("HTTPS://host/x").place(), Place::url);
}

TEST(Location, ShowsNoSecrets) {
  const auto shown = [](const char* url) {
    const Location location(url);
    EXPECT_EQ(location.place(), Place::url);
    EXPECT_EQ(location.url(), url);
    return location.text();
  };
  EXPECT_EQ(shown("https://host/a/b.bin"), "https://host/a/b.bin");
  EXPECT_EQ(shown("https://me:secret@host:81/a@b/c.bin?key=1#x"), "https://host:81/a@b/c.bin");
  EXPECT_EQ(shown("https://me:se@cret@host"), "https://host");
  EXPECT_EQ(shown("http://token@host?key"), "http://host");
  EXPECT_EQ(shown("http://host?user@key"), "http://host");
  EXPECT_EQ(shown("http://"), "http://");
}

TEST(Location, UrlsHaveNeighbours) {
  const Location url("https://me:secret@host/a/model.safetensors?sig=1");
  EXPECT_EQ(url.leaf(), "model.safetensors");
  const Location other = url.beside("sub/x y#1%20%zz?.bin");
  EXPECT_EQ(other.url(), "https://me:secret@host/a/sub/x%20y%231%20%25zz%3F.bin");
  EXPECT_EQ(other.text(), "https://host/a/sub/x y#1%20%zz?.bin");
}

TEST(Location, HubFilesHaveAUrl) {
  const Variable endpoint("HF_ENDPOINT", nullptr);
  const auto url = [](const char* text) {
    EXPECT_EQ(Location(text).text(), text);
    return Location(text).url();
  };
  const std::string hub = "https://huggingface.co/";
  EXPECT_EQ(url("hf://owner/repo/model.gguf"), hub + "owner/repo/resolve/main/model.gguf");
  EXPECT_EQ(url("hf://owner/repo/a/b.gguf@v1"), hub + "owner/repo/resolve/v1/a/b.gguf");
  EXPECT_EQ(url("hf://owner/repo/b.gguf@refs/pr/1"), hub + "owner/repo/resolve/refs%2Fpr%2F1/b.gguf");
  EXPECT_EQ(url("hf://owner/repo@v1/a/b@2x.gguf"), hub + "owner/repo/resolve/v1/a/b%402x.gguf");
  EXPECT_EQ(url("hf://owner/repo/a b%20?#\xc3\xa9.gguf"), hub + "owner/repo/resolve/main/a%20b%2520%3F%23%C3%A9.gguf");
}

TEST(Location, HubFilesHaveNeighbours) {
  const Variable endpoint("HF_ENDPOINT", "https://mirror/hub//");
  const Location last = Location("hf://owner/repo/a/model.safetensors.index.json@refs/pr/1").beside("x.safetensors");
  EXPECT_EQ(last.url(), "https://mirror/hub/owner/repo/resolve/refs%2Fpr%2F1/a/x.safetensors");
  EXPECT_EQ(last.text(), "hf://owner/repo/a/x.safetensors@refs/pr/1");
  EXPECT_EQ(last.leaf(), "x.safetensors");
  EXPECT_EQ(last.beside("y").text(), "hf://owner/repo/a/y@refs/pr/1");
  const Location first = Location("hf://owner/repo@v1/model.json").beside("b/x.bin");
  EXPECT_EQ(first.url(), "https://mirror/hub/owner/repo/resolve/v1/b/x.bin");
  EXPECT_EQ(first.text(), "hf://owner/repo@v1/b/x.bin");
}

TEST(Location, HubFilesThatNameNone) {
  for (const char* text :
       {"hf://", "hf://owner", "hf://owner/repo", "hf://owner/repo/", "hf:///repo/file", "hf://owner//file",
        "hf://owner/repo/../x", "hf://../repo/x", "hf://owner/repo/./x", "hf://owner/repo/a//b", "hf://owner/repo/x@",
        "hf://owner/repo@/x", "hf://owner/repo@v1", "hf://owner@v1/repo/x"}) {
    EXPECT_EQ(code_of(text), ErrorCode::invalid_argument) << text;
  }
  const Variable endpoint("HF_ENDPOINT", "mirror");
  EXPECT_EQ(code_of("hf://owner/repo/file"), ErrorCode::invalid_argument);
}

TEST(Location, StaysInside) {
  for (const char* path : {"x", "a/b", "a/./b", "...", "..a", "a..", "a/b..c/d", "%2e%2e%2e", "%2"})
    EXPECT_TRUE(stays_inside(path)) << path;
  for (const char* path : {"", "/", "/x", "..", "../x", "a/..", "a/../b", "%2e%2e/x", "a/.%2E/b", "a/%2E./b", "c:x",
                           "http://host/x", "a\\b"}) {
    EXPECT_FALSE(stays_inside(path)) << path;
  }
  EXPECT_FALSE(stays_inside(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace headrace::io
