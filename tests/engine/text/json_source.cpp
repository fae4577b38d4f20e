// Boost.JSON, compiled into the tests that read golden data.
#include <boost/json/src.hpp>
