// Package trend says where a series is heading: whether it rises or falls (Theil-Sen and Mann-Kendall), and, for money, when a
// budget is used up (a damped Holt forecast with a profile of the week, and bootstrap paths about it).
package trend
