#include "report/html_text.h"

#include <gtest/gtest.h>

namespace cskd::report {
namespace {

TEST(HtmlEscaped, KeepsTextAndTurnsMarkupIntoReferences) {
  EXPECT_EQ(html_escaped("a <b> & \"c\" 'd'"), "a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  EXPECT_EQ(html_escaped("Gr\u00fc\u00dfe \u65e5\u672c \U0001F600"), "Gr\u00fc\u00dfe \u65e5\u672c \U0001F600");
  EXPECT_EQ(html_escaped(""), "");
}

TEST(HtmlEscaped, ReplacesWhatIsNoUtf8) {
  EXPECT_EQ(html_escaped("a\xff"), "a\uFFFD");
  EXPECT_EQ(html_escaped("\xc3"), "\uFFFD");            // cut short
  EXPECT_EQ(html_escaped("\xc0\xbc"), "\uFFFD\uFFFD");  // "<", longer than need be
  EXPECT_EQ(html_escaped("\xe0\x80\xbc"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(html_escaped("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(html_escaped("\xf5\x80\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(html_escaped("\xc3<script>"), "\uFFFD&lt;script&gt;");
}

TEST(HtmlEscaped, ReplacesControlCharacters) {
  EXPECT_EQ(html_escaped(std::string("a\0b\n\x7f", 5)), "a\uFFFDb\uFFFD\uFFFD");
  EXPECT_EQ(html_escaped("\u202Egpj.exe"), "\uFFFDgpj.exe");
  EXPECT_EQ(html_escaped("\u2066\u0085"), "\uFFFD\uFFFD");
}

// RFC 4648, section 10.
TEST(Base64, HasTheVectorsOfItsStandard) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfb\xf0"), "//vw");
}

TEST(DataUri, NamesTheType) { EXPECT_EQ(data_uri("image/png", "foo"), "data:image/png;base64,Zm9v"); }

}  // namespace
}  // namespace cskd::report
