package reconnect

import (
	"crypto/tls"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
)

// A Decision is what to do after a failure.
type Decision struct {
	Stop     bool
	MinDelay time.Duration // before what the Backoff says, for others may be told the same
}

// DefaultRetry goes on after what may pass: errors of the network, responses with status 408, 425,
// 429 or 5xx, with regard to their Retry-After, and connections that were closed with a status code
// for such, or one it does not know. It stops after what would only happen again: other responses,
// invalid URLs and certificates, an agreement that is none, and StatusNormalClosure or what the
// peer holds against us.
//
// After StatusServiceRestart it waits for 5 to 30 s, as that asks for.
func DefaultRetry(err error) Decision {
	if invalid, ok := errors.AsType[*urlError](err); ok && invalid != nil {
		return Decision{Stop: true}
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && untrusted != nil {
		return Decision{Stop: true}
	}
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		return retryHandshake(refused)
	}
	if end, ok := errors.AsType[*websocket.CloseError](err); ok {
		return retryClose(end.Code)
	}
	return Decision{}
}

func retryHandshake(refused *websocket.HandshakeError) Decision {
	if refused.StatusCode == 0 || backoff.Temporary(refused.StatusCode) {
		wait, _ := backoff.RetryAfter(refused.Header, time.Now())
		return Decision{MinDelay: wait}
	}
	return Decision{Stop: true}
}

func retryClose(code websocket.StatusCode) Decision {
	switch code {
	case websocket.StatusNormalClosure, websocket.StatusProtocolError, websocket.StatusUnsupportedData,
		websocket.StatusInvalidFramePayloadData, websocket.StatusPolicyViolation, websocket.StatusMessageTooBig,
		websocket.StatusMandatoryExtension:
		return Decision{Stop: true}
	case websocket.StatusServiceRestart:
		return Decision{MinDelay: 5*time.Second + rand.N(25*time.Second)}
	}
	return Decision{}
}

// CentrifugeCodes is DefaultRetry, but for connections that were closed with a code from 3500 to 3999 or 4500
// to 4999: by a convention of Centrifuge and others, they mean that the client is not to come back.
func CentrifugeCodes(err error) Decision {
	code := websocket.CloseStatus(err)
	if 3500 <= code && code <= 3999 || 4500 <= code && code <= 4999 {
		return Decision{Stop: true}
	}
	return DefaultRetry(err)
}

// A pacer decides about attempts. It belongs to one goroutine.
type pacer struct {
	o       *config
	attempt int  // failures in a row
	refused bool // the last one was for want of good credentials
}

// reset forgets all failures.
func (p *pacer) reset() { p.attempt, p.refused = 0, false }

// failed notes that an attempt failed with err, or a connection that has lasted for uptime. It
// returns how long to wait, or that there is no point in it.
func (p *pacer) failed(err error, uptime time.Duration) (delay time.Duration, stop bool) {
	limit := p.o.MaxAttempts
	p.count(uptime)
	decision := p.decide(err)
	if decision.Stop || limit < 0 || limit > 0 && p.attempt >= limit {
		return 0, true
	}
	delay = p.delay()
	return delay + min(decision.MinDelay, math.MaxInt64-delay), false
}

// count counts what is no success: not a connection that has lasted for long enough.
func (p *pacer) count(uptime time.Duration) {
	if uptime > 0 && p.o.Backoff.Resets(uptime) {
		p.reset()
	} else {
		p.attempt++
	}
}

func (p *pacer) delay() time.Duration { return p.o.Backoff.Delay(max(0, p.attempt-1)) }

// decide asks Retry, or DefaultRetry.
func (p *pacer) decide(err error) Decision {
	if p.o.Retry != nil {
		return p.o.Retry(err)
	}
	before := p.refused
	refused, ok := errors.AsType[*websocket.HandshakeError](err)
	p.refused = ok && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden)
	if p.refused && !before && p.o.fresh {
		return Decision{}
	}
	return DefaultRetry(err)
}
