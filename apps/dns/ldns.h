// ldns, without the macros for bool, true and false that its headers bring unless somebody else was first.
#pragma once

#include <stdbool.h>

#include <ldns/ldns.h>
