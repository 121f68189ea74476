package proxy

func (x *Exchange) priority() int { return 0 }
