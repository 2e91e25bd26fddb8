// The unpickler, opcode by opcode: what picklers of all protocols write, and what a bomb may cost.
#include "format/torch/unpickler.hpp"

#include "support/memory_source.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace headrace::test {
namespace {

using namespace format::torch;
using namespace std::string_literals;
using namespace std::string_view_literals;

/// A pickle that was read, and what it was read from.
struct Pickle {
  explicit Pickle(std::string bytes, std::uint64_t memory = std::uint64_t{8} << 20)
      : source(std::move(bytes)), allowance("memory", memory), values(allowance), cursor(source, 0, source.size()) {}

  Value load() { return Unpickler(cursor, values).load(); }

  MemorySource source;
  format::Allowance allowance;
  Values values;
  Cursor cursor;
};

/// A value as text: a dict as {a: 1}, a tuple as (1, 2).
std::string show(const Values& values, Value value) {
  const auto joined = [&](const char* open, const char* close) {
    std::string text = open;
    const auto items = values.items(value);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const bool is_value = value.is(Kind::dict) && i % 2 != 0;
      text += (i == 0 ? "" : is_value ? ": " : ", ") + show(values, items[i]);
    }
    return text + close;
  };
  switch (value.kind()) {
    case Kind::none: return "None";
    case Kind::boolean: return value.number() != 0 ? "True" : "False";
    case Kind::integer: return std::to_string(value.number());
    case Kind::large: return "large";
    case Kind::text: return "'" + std::string(values.text(value)) + "'";
    case Kind::bytes: return "bytes";
    case Kind::tuple: return joined("(", ")");
    case Kind::list: return joined("[", "]");
    case Kind::dict: return joined("{", "}");
    case Kind::set: return joined("{", "}");
    case Kind::global: return std::string(values.global(value).name);
    case Kind::storage: return "storage";
    case Kind::tensor: return "tensor";
    case Kind::other: return "other";
    case Kind::vacant: break;
  }
  return "vacant";
}

std::string shown(std::string bytes) {
  Pickle pickle(std::move(bytes));
  const Value value = pickle.load();
  return show(pickle.values, value);
}

TEST(Unpickler, Numbers) {
  EXPECT_EQ(shown("K\xff."), "255");
  EXPECT_EQ(shown("M\xff\xff."), "65535");
  EXPECT_EQ(shown("J\xff\xff\xff\xff."), "-1");
  EXPECT_EQ(shown("J\xff\xff\xff\x7f."), "2147483647");
  EXPECT_EQ(shown("\x8a\0."s), "0");
  EXPECT_EQ(shown("\x8a\1\xff."), "-1");
  EXPECT_EQ(shown("\x8a\2\xff\0."s), "255");
  EXPECT_EQ(shown("\x8b\2\0\0\0\xff\0."s), "255");
  EXPECT_EQ(shown("\x8a\7\xff\xff\xff\xff\xff\xff\x7f."), "36028797018963967");
  EXPECT_EQ(shown("\x8a\7\0\0\0\0\0\0\x80."s), "large");  // -2^55
  EXPECT_EQ(shown("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f."), "large");
  EXPECT_EQ(shown("\x8a\x14" + std::string(20, 'x') + "."), "large");
  EXPECT_EQ(shown("I-12\n."), "-12");
  EXPECT_EQ(shown("I01\n."), "True");
  EXPECT_EQ(shown("L123L\n."), "123");
  EXPECT_EQ(shown("L123456789012345678901234567890L\n."), "large");
  EXPECT_EQ(shown("F1.5\n."), "other");
  EXPECT_EQ(shown("G\x3f\xf8\0\0\0\0\0\0."s), "other");
}

TEST(Unpickler, Texts) {
  EXPECT_EQ(shown("X\3\0\0\0abc."s), "'abc'");
  EXPECT_EQ(shown("\x8c\3abc."), "'abc'");
  EXPECT_EQ(shown("\x8d\3\0\0\0\0\0\0\0abc."s), "'abc'");
  EXPECT_EQ(shown("U\3abc."), "'abc'");
  EXPECT_EQ(shown("T\3\0\0\0abc."s), "'abc'");
  EXPECT_EQ(shown("S'abc'\n."), "'abc'");
  EXPECT_EQ(shown("Vabc\n."), "'abc'");
  EXPECT_EQ(shown("X\0\0\0\0."s), "''");
  for (const std::string& bytes :
       {"C\3abc."s, "B\3\0\0\0abc."s, "\x8e\3\0\0\0\0\0\0\0abc."s, "\x96\3\0\0\0\0\0\0\0abc."s}) {
    EXPECT_EQ(shown(bytes), "bytes");
  }
}

TEST(Unpickler, Containers) {
  EXPECT_EQ(shown("(N\x88\x89t."), "(None, True, False)");
  EXPECT_EQ(shown(")."), "()");
  EXPECT_EQ(shown("N\x85\x85."), "((None))");
  EXPECT_EQ(shown("K\1K\2\x86."), "(1, 2)");
  EXPECT_EQ(shown("K\1K\2K\3\x87."), "(1, 2, 3)");
  EXPECT_EQ(shown("]K\1aK\2a(K\3K\4e."), "[1, 2, 3, 4]");
  EXPECT_EQ(shown("(K\1K\2l."), "[1, 2]");
  EXPECT_EQ(shown("}K\1K\2s(K\3K\4K\5K\6u."), "{1: 2, 3: 4, 5: 6}");
  EXPECT_EQ(shown("(K\1K\2d."), "{1: 2}");
  EXPECT_EQ(shown("\x8f(K\1K\2\x90."), "{1, 2}");
  EXPECT_EQ(shown("(K\1\x91."), "{1}");
  EXPECT_EQ(shown("](e."), "[]");
}

TEST(Unpickler, StackAndMemo) {
  EXPECT_EQ(shown("NK\1"
                  "0."),
            "None");
  EXPECT_EQ(shown("N(K\1K\2"
                  "1."),
            "None");
  EXPECT_EQ(shown("N(0."), "None");  // a mark is popped, too
  EXPECT_EQ(shown("K\1"
                  "2\x86."),
            "(1, 1)");
  EXPECT_EQ(shown("K\1q\0K\2r\1\0\0\0h\0j\1\0\0\0\x86\x87."s), "(1, 2, (1, 2))");
  EXPECT_EQ(shown("K\1p0\nK\2\x94g1\n\x87."), "(1, 2, 2)");
  EXPECT_EQ(shown("K\1q\0K\2q\0h\0\x87."s), "(1, 2, 2)");  // put over
  EXPECT_EQ(shown("\x80\4\x95\1\0\0\0\0\0\0\0N."s), "None");
}

// One list under two names is one list.
TEST(Unpickler, SharesWhatIsShared) { EXPECT_EQ(shown("]q\0h\0K\1a\x86."s), "([1], [1])"); }

TEST(Unpickler, Objects) {
  EXPECT_EQ(shown("ccollections\nOrderedDict\n)R(K\1K\2u."), "{1: 2}");
  EXPECT_EQ(shown("ccollections\nOrderedDict\n](](K\1K\2e](K\3K\4ee\x85R."), "{1: 2, 3: 4}");
  EXPECT_EQ(shown("ccollections\nCounter\n}K\1K\2s\x85R."), "{1: 2}");
  EXPECT_EQ(shown("ccollections\ndefaultdict\ncbuiltins\nlist\n\x85R."), "{}");
  EXPECT_EQ(shown("ccollections\nOrderedDict\n)\x81}b."), "{}");
  EXPECT_EQ(shown("(icollections\nOrderedDict\n."), "{}");
  EXPECT_EQ(shown("(ccollections\nOrderedDict\no."), "{}");
  EXPECT_EQ(shown("ccollections\nOrderedDict\n)}\x92."), "{}");
  EXPECT_EQ(shown("\x8c\x0b"
                  "collections\x8c\x0b"
                  "OrderedDict\x93)R."),
            "{}");
  EXPECT_EQ(shown("ctorch\nSize\nK\2K\3\x86\x85R."), "(2, 3)");
  EXPECT_EQ(shown("ctorch\nfloat32\n."), "float32");
  EXPECT_EQ(shown("ctorch\ndevice\nU\3cpu\x85R."), "other");
  EXPECT_EQ(shown("cbuiltins\nset\n](K\1e\x85R."), "{1}");
  EXPECT_EQ(shown("c_codecs\nencode\nU\1xU\6latin1\x86R."), "bytes");
  EXPECT_EQ(shown("cargparse\nNamespace\n)\x81}b."), "other");
}

TEST(Unpickler, NothingIsAllowedByAccident) {
  for (const Global& global : globals()) {
    EXPECT_EQ(find_global(global.module, global.name), &global) << global.module << "." << global.name;
    for (const std::string_view module : {"os", "sys", "posix", "nt", "subprocess", "", "torch.hub", "builtins.x"}) {
      EXPECT_EQ(find_global(module, global.name), nullptr);
    }
  }
  EXPECT_EQ(find_global("torch", "load"), nullptr);
  EXPECT_EQ(find_global("torch", "Size\n"), nullptr);
  EXPECT_EQ(find_global("builtins", "eval"), nullptr);
}

// Several pickles in a row, as the old format has them.
TEST(Unpickler, EndsAfterTheStop) {
  Pickle pickle("K\1.K\2.");
  EXPECT_EQ(pickle.load().number(), 1);
  EXPECT_EQ(pickle.cursor.position(), 3u);
  EXPECT_EQ(pickle.load().number(), 2);
  EXPECT_EQ(pickle.cursor.left(), 0u);
}

// Across the window's edges: long texts, numbers and skipped bytes.
TEST(Unpickler, ReadsPastItsWindow) {
  for (std::size_t pad = Cursor::kWindow - 20; pad < Cursor::kWindow + 4; ++pad) {
    const std::string text(100'000, 'x');
    const auto n = static_cast<std::uint32_t>(pad);
    EXPECT_EQ(shown("(B" + raw(n) + std::string(pad, 'b') + "X" + raw(std::uint32_t{100'000}) + text + "J\1\0\0\0t."s),
              "(bytes, '" + text + "', 1)");
  }
}

void expect_error(std::string bytes, ErrorCode code, std::string_view part,
                  std::uint64_t memory = std::uint64_t{8} << 20) {
  try {
    Pickle pickle(std::move(bytes), memory);
    pickle.load();
    ADD_FAILURE() << "accepted, but should say: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
  }
}

std::string times(std::size_t n, std::string_view part) {
  std::string all;
  for (std::size_t i = 0; i < n; ++i) all += part;
  return all;
}

// What a pickle holds grows with its bytes, however often it doubles what it has.
TEST(Unpickler, BombsStaySmall) {
  Pickle memo("]" + times(100'000, "2\x86") + ".");
  memo.load();
  EXPECT_LE(memo.values.memory(), std::size_t{6} << 20);
  Pickle lists(times(100'000, "]q\0h\0a"sv) + ".", std::uint64_t{32} << 20);
  lists.load();
  EXPECT_LE(lists.values.memory(), std::size_t{16} << 20);
}

TEST(Unpickler, AsksForMemoryFirst) {
  constexpr std::uint64_t kLittle = std::uint64_t{1} << 20;
  for (const std::string& bomb : {
           times(2'000'000, "N"),    // the stack
           times(2'000'000, "("),    // the marks
           times(1'000'000, "]0"),   // lists
           times(500'000, "N\x94"),  // the memo
           times(100'000,
                 "U\4abcd"
                 "0"),                                                         // texts
           "X" + raw(std::uint32_t{2'000'000}) + std::string(2'000'000, 'x'),  // a text
           "]" + times(400'000, "Na"),                                         // a list that grows
           // a dict that is copied by three bytes
           "(" + times(10'000, "K\1K\2") + "dq\0"s + times(1000, "ccollections\nCounter\nh\0\x85R"sv),
       }) {
    expect_error(bomb, ErrorCode::budget, "raise --memory", kLittle);
  }
}

// A number in the memo that no pickler would have reached yet.
TEST(Unpickler, TheMemoIsDense) {
  expect_error("Nr\0\0\0\1."s, ErrorCode::format, "the pickle's memo has a hole");
  expect_error("Np4294967295\n.", ErrorCode::format, "the pickle's memo has a hole");
}

// Whatever the bytes are, they end in a value or an Error.
TEST(Unpickler, EveryOpcodeAloneAndInPairs) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::array<char, 2> pair = {static_cast<char>(first), static_cast<char>(second)};
      for (const std::string& before : {""s, "N"s, "(}N"s, "](N)"s, "NNN"s}) {
        try {
          shown(before + std::string(pair.data(), pair.size()) + "\1\0\0\0\0\0\0\0..\n.\n."s);
        } catch (const Error& error) {
          EXPECT_TRUE(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported) << error.what();
        }
      }
    }
  }
}

}  // namespace
}  // namespace headrace::test
